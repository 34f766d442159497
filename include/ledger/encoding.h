/*
 * encoding.h - texts on their way into entries, and out of them.
 *
 * Entries are UTF-8 (core/entry.h says what of other bytes); the rest of a
 * database has its own encoding, and the names in the catalogs that all databases
 * share have whatever the database had that they were made in. A database of
 * SQL_ASCII, and a process without a database, is taken to speak UTF-8.
 *
 * Nothing here fails for what a text holds. Where the two encodings do not
 * agree, escapes stand for the bytes: \xNN, and \\xNN inside of JSON.
 * The conversions are looked up once, in the first transaction that needs
 * them, in pg_catalog only; outside of transactions, before that, all
 * bytes above 127 are escaped.
 */
#ifndef BIOMETRIC_LEDGER_ENCODING_H
#define BIOMETRIC_LEDGER_ENCODING_H

#include "postgres.h"

#include "core/entry.h"

/*
 * encoding_to_utf8 converts a text of this database; encoding_to_server one of
 * an entry. json: it is a JSON object. An absent text stays absent. Returns the
 * text itself where nothing is to be changed, else a palloc'd one; either is
 * valid without NUL bytes, and neither need be NUL-terminated.
 */
extern EntryText encoding_to_utf8(EntryText text, bool json);
extern EntryText encoding_to_server(EntryText text, bool json);

/* encoding_string is encoding_to_server as a palloc'd C string; "" for an absent text. */
extern char *encoding_string(EntryText text, bool json);

/*
 * encoding_recorded returns how a text of this database reads after it was
 * written to an entry, palloc'd: the same, but for bytes that were escaped.
 */
extern char *encoding_recorded(const char *text);

/* encoding_entry is entry_encode of an entry whose texts are this database's. */
extern CoreStatus encoding_entry(const EntryFields *fields, uint8_t *out, size_t capacity,
								 size_t *length);

#endif
