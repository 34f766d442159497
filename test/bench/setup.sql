-- The benchmark's tables, and what a careful team writes by hand: pgcrypto, a
-- key in a setting, and a function that inserts an audit row before it returns
-- the decrypted image.

CREATE EXTENSION pgcrypto SCHEMA public;
CREATE EXTENSION pg_prewarm SCHEMA public;
CREATE EXTENSION biometric_audit;

SELECT pg_catalog.format('ALTER DATABASE %I SET bench.key = %L', pg_catalog.current_database(),
                         pg_catalog.encode(public.gen_random_bytes(32), 'hex')) \gexec
\connect

GRANT biometric_custodian, biometric_auditor TO CURRENT_USER;
-- The client runs on the server's own host here, which is worth a warning elsewhere.
SET client_min_messages = error;
SELECT biometric.register_party('bench', 'Benchmark', NULL);
SELECT biometric.register_network('127.0.0.1/32', 'bench');
SELECT biometric.authorize('bench', ARRAY['face'], 'open', NULL);
RESET client_min_messages;

CREATE SCHEMA bench;

CREATE FUNCTION bench.key() RETURNS pg_catalog.bytea LANGUAGE sql STABLE
RETURN pg_catalog.decode(pg_catalog.current_setting('bench.key'), 'hex');

-- EXTERNAL, as images do not compress and as the image types have it: an
-- attempt at compression would only slow the others down.
CREATE TABLE bench.plain (id pg_catalog.int4 PRIMARY KEY, image pg_catalog.bytea NOT NULL);
ALTER TABLE bench.plain ALTER image SET STORAGE EXTERNAL;
CREATE TABLE bench.sealed (id pg_catalog.int4 PRIMARY KEY, image biometric.face_image NOT NULL);
CREATE TABLE bench.crypt (id pg_catalog.int4 PRIMARY KEY, image pg_catalog.bytea NOT NULL,
                          iv pg_catalog.bytea NOT NULL);
ALTER TABLE bench.crypt ALTER image SET STORAGE EXTERNAL;

CREATE TABLE bench.small_plain (LIKE bench.plain INCLUDING ALL);
CREATE TABLE bench.small_sealed (LIKE bench.sealed INCLUDING ALL);

CREATE TABLE bench.new_plain (LIKE bench.plain INCLUDING ALL);
CREATE TABLE bench.new_default (id pg_catalog.int4 PRIMARY KEY, image pg_catalog.bytea NOT NULL);
CREATE TABLE bench.new_sealed (LIKE bench.sealed INCLUDING ALL);

-- What is usually done to have changes on record: a row trigger and a table.
CREATE TABLE bench.new_audited (LIKE bench.plain INCLUDING ALL);
CREATE TABLE bench.new_audit (
	at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	by_user pg_catalog.text NOT NULL DEFAULT CURRENT_USER,
	operation pg_catalog.text NOT NULL,
	row_key pg_catalog.jsonb NOT NULL,
	transaction_id pg_catalog.xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
CREATE FUNCTION bench.audit() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
	INSERT INTO bench.new_audit (operation, row_key)
		VALUES (TG_OP, pg_catalog.jsonb_build_object('id', NEW.id));
	RETURN NULL;
END
$body$;
CREATE TRIGGER audit AFTER INSERT ON bench.new_audited FOR EACH ROW EXECUTE FUNCTION bench.audit();
CREATE TABLE bench.new_crypt (LIKE bench.crypt INCLUDING ALL);

-- For the time that one durable commit takes.
CREATE TABLE bench.commits (number pg_catalog.int4);

CREATE TABLE bench.audit (
    id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at pg_catalog.timestamptz NOT NULL,
    who pg_catalog.text NOT NULL,
    client pg_catalog.inet,
    application pg_catalog.text,
    purpose pg_catalog.text,
    image pg_catalog.int4 NOT NULL);

CREATE FUNCTION bench.read_image(image_number pg_catalog.int4, sealed pg_catalog.bytea,
                                 iv pg_catalog.bytea)
RETURNS pg_catalog.bytea LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO bench.audit (at, who, client, application, purpose, image)
    VALUES (pg_catalog.clock_timestamp(), session_user, pg_catalog.inet_client_addr(),
            pg_catalog.current_setting('application_name'),
            pg_catalog.current_setting('biometric_audit.purpose', true), image_number);
    RETURN public.decrypt_iv(sealed, bench.key(), iv, 'aes');
END
$$;

-- Reads the tables and their TOAST tables into shared buffers.
CREATE FUNCTION bench.warm() RETURNS pg_catalog.numeric LANGUAGE sql
RETURN (SELECT sum(public.pg_prewarm(c.oid)) FROM pg_catalog.pg_class c
        WHERE c.relkind IN ('r', 'i', 't')
        AND EXISTS (SELECT FROM pg_catalog.pg_class r
                    LEFT JOIN pg_catalog.pg_index i
                    ON i.indrelid IN (r.oid, r.reltoastrelid)
                    WHERE r.relnamespace = 'bench'::pg_catalog.regnamespace
                    AND c.oid IN (r.oid, r.reltoastrelid, i.indexrelid)));
