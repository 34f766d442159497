# Ways round by expressions: whatever SQL makes of an image is made of its sealed form.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use WaysRound;

my $sealed = 'sealed';

way 'the column itself, from a network that may have it',
  sql => 'SELECT id, img FROM vault', gets => 'opened', without => 'the one door';
way 'the cast to bytea', sql => 'SELECT img::bytea FROM vault', gets => 'opened', without => 'the same door, for drivers';
way 'a cast to text', sql => 'SELECT img::text FROM vault', gets => $sealed;
way 'a cast to text by function syntax and by CAST',
  sql => [ 'SELECT text(img) FROM vault', 'SELECT CAST(img AS varchar) FROM vault' ], gets => $sealed;
way 'format()', sql => q{SELECT format('%s', img) FROM vault}, gets => $sealed;
way 'string concatenation', sql => q{SELECT concat('x', img) FROM vault}, gets => $sealed;
way 'to_json and row_to_json',
  sql => [ 'SELECT to_json(img) FROM vault', 'SELECT row_to_json(v) FROM vault v', 'SELECT to_jsonb(v) FROM vault v' ],
  gets => $sealed;
way 'json_agg over the table', sql => 'SELECT json_agg(v) FROM vault v', gets => $sealed;
way 'xml', sql => q{SELECT table_to_xml('vault', false, false, '')}, gets => $sealed;
way 'query_to_xml', sql => q{SELECT query_to_xml('SELECT img FROM vault', false, false, '')}, gets => $sealed;
way 'a whole row', sql => [ 'SELECT v FROM vault v', 'SELECT ROW(img) FROM vault' ], gets => $sealed;
way 'an array', sql => [ 'SELECT ARRAY[img] FROM vault', 'SELECT array_agg(img) FROM vault' ], gets => $sealed;
way 'an element of an array', sql => 'SELECT (array_agg(img))[1] FROM vault', gets => 'opened',
  without => 'an image again, judged as such';
way 'a record-returning function', sql => 'SELECT (r).* FROM (SELECT v FROM vault v) AS x(r)', gets => 'opened';
way 'a record as output', sql => 'SELECT row(id, img)::text FROM vault', gets => $sealed;
way 'bytea made of it and encoded', sql => q{SELECT encode(img::bytea, 'hex') FROM vault}, gets => $sealed;
way 'functions of bytea that change nothing', sql => 'SELECT substr(img::bytea, 1) FROM vault', gets => 'opened',
  without => 'the same bytes are the same cast';
way 'several casts strung together', sql => q{SELECT string_agg(img::bytea, '') FROM vault}, gets => $sealed;
way 'the cast reversed or spelt otherwise', sql => [ 'SELECT encode(img::bytea, \'base64\') FROM vault',
	'SELECT encode(img::bytea, \'escape\') FROM vault' ], gets => $sealed;
way 'a part of the cast as bytea', sql => 'SELECT substr(img::bytea, 2) FROM vault', gets => 'nothing',
  without => 'ciphertext without its beginning';
way 'the cast in an expression of type bytea', sql => q{SELECT img::bytea || '\\x00'::bytea FROM vault}, gets => $sealed;
way 'COALESCE and CASE over the cast',
  sql => [ 'SELECT coalesce(img::bytea, NULL) FROM vault', 'SELECT CASE WHEN true THEN img END FROM vault' ],
  gets => 'opened';
way 'the output function by name', sql => 'SELECT biometric.face_image_out(img) FROM vault',
  gets => { owner => 'refused 42501', reader => 'refused 42501', superuser => 'sealed' };
way 'the send function by name', sql => 'SELECT biometric.face_image_send(img) FROM vault',
  gets => { owner => 'refused 42501', reader => 'refused 42501', superuser => 'sealed' };
way 'the receive function by name', sql => q{SELECT biometric.face_image_recv('x')},
  gets => 'refused 42883';
way 'the function of the cast by name', sql => 'SELECT biometric.sealed_bytes(img) FROM vault', gets => 'opened',
  without => 'it is the cast';
way 'a function of the user that takes an image',
  before => 'CREATE FUNCTION w.f(biometric.face_image) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN $1::text; END $$',
  sql => 'SELECT w.f(img) FROM vault', gets => $sealed;
way 'a cast that the user makes with a function',
  before => 'CREATE FUNCTION w.f(biometric.face_image) RETURNS json LANGUAGE sql AS $$ SELECT to_json($1::text) $$',
  sql => [ 'CREATE CAST (biometric.face_image AS json) WITH FUNCTION w.f(biometric.face_image)',
	'SELECT to_json(img) FROM vault', 'DROP CAST IF EXISTS (biometric.face_image AS json)' ],
  as => ['superuser'], gets => $sealed;
way 'a cast without function',
  sql => 'CREATE CAST (biometric.face_image AS text) WITHOUT FUNCTION',
  gets => 'refused 42501';
way 'a cast from text by input and output',
  sql => [ 'CREATE CAST (biometric.face_image AS text) WITH INOUT', 'SELECT img::text FROM vault',
	'DROP CAST IF EXISTS (biometric.face_image AS text)' ],
  as => ['superuser'], gets => $sealed;
way 'an operator of the user',
  before => [
	'CREATE FUNCTION w.f(biometric.face_image, biometric.face_image) RETURNS text LANGUAGE sql AS $$ SELECT $1::text || $2::text $$',
	'CREATE OPERATOR w.=== (FUNCTION = w.f, LEFTARG = biometric.face_image, RIGHTARG = biometric.face_image)' ],
  sql => 'SELECT a.img OPERATOR(w.===) b.img FROM vault a, vault b WHERE a.id = 1 AND b.id = 2', gets => $sealed;
way 'an aggregate of the user',
  before => [
	'CREATE FUNCTION w.f(text, biometric.face_image) RETURNS text LANGUAGE sql AS $$ SELECT coalesce($1, \'\') || $2::text $$',
	'CREATE AGGREGATE w.all_of(biometric.face_image) (SFUNC = w.f, STYPE = text)' ],
  sql => 'SELECT w.all_of(img) FROM vault', gets => $sealed;
way 'an operator class of the user',
  before => [
	'CREATE FUNCTION w.cmp(biometric.face_image, biometric.face_image) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE \'%\', $1; RETURN 0; END $$',
	'CREATE FUNCTION w.lt(biometric.face_image, biometric.face_image) RETURNS bool LANGUAGE sql AS \'SELECT false\'',
	'CREATE OPERATOR w.< (FUNCTION = w.lt, LEFTARG = biometric.face_image, RIGHTARG = biometric.face_image)',
	'CREATE OPERATOR w.= (FUNCTION = w.lt, LEFTARG = biometric.face_image, RIGHTARG = biometric.face_image)',
	'CREATE OPERATOR CLASS w.ops DEFAULT FOR TYPE biometric.face_image USING btree AS OPERATOR 1 w.<, OPERATOR 3 w.=, FUNCTION 1 w.cmp(biometric.face_image, biometric.face_image)' ],
  sql => 'SELECT id FROM vault ORDER BY img', as => ['superuser'], gets => $sealed;
way 'RAISE with the image', sql => [
	q{DO $$ DECLARE f biometric.face_image; BEGIN SELECT img INTO f FROM vault WHERE id = 1; RAISE NOTICE '%', f; END $$},
	q{DO $$ DECLARE f biometric.face_image; BEGIN SELECT img INTO f FROM vault WHERE id = 1; RAISE WARNING '%', f::bytea; END $$} ],
  gets => $sealed;
way 'an error message that quotes the image',
  sql => 'SELECT img::text::int FROM vault', gets => 'refused 22P02', without => 'it quotes the sealed text';
way 'a cast that fails and quotes bytes', sql => q{SELECT convert_from(img::bytea, 'UTF8') FROM vault},
  gets => 'refused 22021';
way 'NOTIFY with a piece of it', sql => [ 'LISTEN c', q{SELECT pg_notify('c', left(img::text, 7000)) FROM vault WHERE id = 1} ],
  gets => $sealed;
way 'EXPLAIN ANALYZE VERBOSE', sql => [ 'EXPLAIN (ANALYZE, VERBOSE) SELECT img FROM vault',
	'EXPLAIN (ANALYZE, VERBOSE, FORMAT json) SELECT img::bytea FROM vault ORDER BY img::text' ], gets => 'nothing';
way 'EXPLAIN with a folded constant', sql => q{EXPLAIN VERBOSE SELECT '{picture 9}'::biometric.face_image},
  gets => $sealed;
way 'a set-returning function', sql => 'SELECT unnest(array_agg(img)) FROM vault', gets => 'opened';
way 'generate text from the header functions',
  sql => 'SELECT biometric.image_id(img), biometric.width(img), biometric.digest(img) FROM vault', gets => 'nothing',
  without => 'metadata only';
way 'a window function', sql => 'SELECT lag(img) OVER (ORDER BY id) FROM vault', gets => 'opened';
way 'ordering, grouping and comparing images', sql => 'SELECT img FROM vault ORDER BY img', gets => 'refused 42883';
way 'a large object made of it',
  sql => [ q{SELECT set_config('w.lo', lo_from_bytea(0, img::bytea)::text, false) FROM vault WHERE id = 1},
	q{SELECT lo_get(current_setting('w.lo')::oid)} ], gets => $sealed;
way 'text search, hashing and compression of the sealed text',
  sql => q{SELECT encode(sha256(img::bytea), 'hex'), length(img::text) FROM vault}, gets => 'nothing';
way 'a prefix table of guesses by digest()', sql => 'SELECT count(*) FROM vault a JOIN vault b ON biometric.digest(a.img) = biometric.digest(b.img)',
  gets => 'nothing', without => 'the digest is keyed: guesses cannot be checked outside';

try_ways(conf => "log_statement = all\n");
