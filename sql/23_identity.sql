-- Planned moves of a ledger from one system to another.

CREATE FUNCTION biometric.hand_over_ledger(reason pg_catalog.text)
RETURNS void AS 'MODULE_PATHNAME', 'ledger_hand_over'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.hand_over_ledger(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.hand_over_ledger(pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.hand_over_ledger(pg_catalog.text) IS
'Before pg_upgrade, or before the data directory is copied to another volume or machine for good: closes this copy of the database''s ledger with a last entry, policy_changed with action "hand_over", that gives the reason. From the commit on nothing is released or stored here. The next system that starts with these tables, and is another one (system identifier or data directory differ), continues the log by itself, with an entry "forked" that says so; here, fork_ledger() begins a log of its own. For custodians. Errors: 42501 for others, 22023 without a reason, 55000 when the log is retired or takes no more entries already, when its worker has not begun it yet, and at the end of a transaction that changes images or the policy, too.';
