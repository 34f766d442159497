-- The view of the keys.

CREATE VIEW biometric.key AS
	WITH ring AS MATERIALIZED (
		SELECT k.key_id, k.key_check, k.active, k.problem FROM biometric.keyring_state() AS k
	), pin AS (
		SELECT DISTINCT ON (q.key_id) q.*,
			EXISTS (SELECT FROM ONLY biometric.key_pin AS o
				WHERE o.key_check OPERATOR(pg_catalog.=) q.key_check
					AND o.state OPERATOR(pg_catalog.<>) 'usable') AS gone
		FROM ONLY biometric.key_pin AS q
			JOIN ONLY biometric.log AS l ON l.log_id OPERATOR(pg_catalog.=) q.log_id
		WHERE l.ordinal IS NOT NULL
		ORDER BY q.key_id, l.ordinal DESC
	)
	SELECT p.key_id,
		CASE WHEN p.state OPERATOR(pg_catalog.<>) 'usable' THEN p.state
			WHEN p.gone THEN 'shredded'
			WHEN r.key_id IS NULL THEN 'missing'
			WHEN r.key_check OPERATOR(pg_catalog.<>) p.key_check THEN 'wrong'
			WHEN r.active OR p.period OPERATOR(pg_catalog.@>) pg_catalog.now() THEN 'active'
			ELSE 'retired' END AS state,
		h.relation, h.column_name, p.period,
		CASE WHEN u.problem IS NULL THEN r.key_id IS NOT NULL
			AND r.key_check OPERATOR(pg_catalog.=) p.key_check END AS in_keyring,
		coalesce((SELECT i.images FROM biometric.key_images() AS i
			WHERE i.key_id OPERATOR(pg_catalog.=) p.key_id), 0) AS images,
		p.pinned_at, p.shredded_at, p.reason, coalesce(p.problem,
			CASE WHEN p.state OPERATOR(pg_catalog.=) 'usable' AND p.gone
				THEN 'A log that was restored into this database says that the key was shredded.' END,
			u.problem) AS problem
	FROM pin AS p
		LEFT JOIN ring AS r ON r.key_id OPERATOR(pg_catalog.=) p.key_id
		LEFT JOIN ring AS u ON u.problem IS NOT NULL
		LEFT JOIN ONLY biometric.home AS h
			ON h.log_id OPERATOR(pg_catalog.=) p.log_id AND h.home OPERATOR(pg_catalog.=) p.home;
REVOKE ALL ON biometric.key FROM PUBLIC;
GRANT SELECT ON biometric.key TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.key IS
'The keys that this database knows. state: active, new images are sealed under it (of a bound key: the present is in its period); retired, it opens what is under it; shredding, it opens nothing any more and is about to be taken from the keyring; shredded, it is gone; missing, the keyring does not hold it; wrong, the keyring holds another key under its id, which is not used. relation, column_name, period: of a key that is bound (key_period()); NULL: it is a general key. in_keyring: whether the keyring holds this very key; NULL: the keyring cannot be read. images: how many images of the database are under it, by a scan of their headers when this column is asked for. pinned_at: when the key was seen first. reason: of shred_key(). problem: what stands in the way of shredding it, or of reading the keyring, or that a restored log, not this database''s own, says that it was shredded.';
