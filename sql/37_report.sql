-- What was released to a party, for the day on which it matters.

CREATE FUNCTION biometric.affected(party pg_catalog.text, during pg_catalog.tstzrange,
	OUT image_id pg_catalog.uuid, OUT kind pg_catalog.text, OUT relation pg_catalog.text,
	OUT row_key pg_catalog.jsonb, OUT first_released pg_catalog.timestamptz,
	OUT last_released pg_catalog.timestamptz, OUT times pg_catalog.int8)
RETURNS SETOF pg_catalog.record AS 'MODULE_PATHNAME', 'biometric_affected'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.affected(pg_catalog.text, pg_catalog.tstzrange) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.affected(pg_catalog.text, pg_catalog.tstzrange)
	TO biometric_auditor;
COMMENT ON FUNCTION biometric.affected(pg_catalog.text, pg_catalog.tstzrange) IS
'The images that were released to a party in a period, a row for each image and each row of a table that held it when it was released, whatever has become of that row since. party: NULL or empty means clients of no registered party. relation, row_key: as the ledger names the row; where it does not, row_key is NULL and relation the table that the image was read from. first_released, last_released, times: the releases of that image while that row held it. A row stays whatever becomes of it, and of the description of its table. Of an image that was in several rows, all that had it when its statement began count, of the table that was read; of others, too, when these tell more (a subject, or a key). A WARNING says when entries of the period, or about rows of these images, are in segments that were detached. Errors: 22023 for a period that is NULL or empty, 42704 for a party that is neither registered nor in the ledger.';

CREATE FUNCTION biometric.breach_report(party pg_catalog.text, during pg_catalog.tstzrange,
	OUT dimension pg_catalog.text, OUT value pg_catalog.text, OUT taken pg_catalog.bool,
	OUT disclosures pg_catalog.int8, OUT images pg_catalog.int8, OUT rows pg_catalog.int8,
	OUT subjects pg_catalog.int8, OUT first_released pg_catalog.timestamptz,
	OUT last_released pg_catalog.timestamptz)
RETURNS SETOF pg_catalog.record AS 'MODULE_PATHNAME', 'biometric_breach_report'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.breach_report(pg_catalog.text, pg_catalog.tstzrange) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.breach_report(pg_catalog.text, pg_catalog.tstzrange)
	TO biometric_auditor;
COMMENT ON FUNCTION biometric.breach_report(pg_catalog.text, pg_catalog.tstzrange) IS
'What was released to a party in a period, and what was not, counted exactly from the ledger. party: NULL or empty means clients of no registered party. dimension, in this order: total; kind; relation; authorization (a permit''s id; NULL: released without one); purpose (NULL: none declared); network; login; day (UTC); place and collected_on (UTC date), as describe_collection() had them recorded last for that row and image before the release, or else first behind it (NULL: not recorded); collected_for (what collect() had declared when the image was stored, a JSON object with purpose and legal_basis; NULL: nothing); detached (what is in segments that were detached, and cannot be counted: disclosures: how many entries; images: how many images have entries about their rows there; only when there are any). disclosures: images as often as they were released; images: different ones; rows: different rows of tables that held them when they were released; subjects: different ones that are recorded of those rows, in all partitions and heirs of a table that was described. By place, collected_on and collected_for, a disclosure counts once for each value that its rows have. taken is false, and all figures 0, for what was not released: each kind of image, each table that has images now, each permit and network of the party. Errors: 22023 for a period that is NULL or empty, 42704 for a party that is neither registered nor in the ledger.';
