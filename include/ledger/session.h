/*
 * session.h - what the ledger says of the session it runs in.
 *
 * Private to the ledger. Works outside of transactions too: what can only be
 * looked up inside of one is remembered from the last time.
 */
#ifndef BIOMETRIC_LEDGER_SESSION_H
#define BIOMETRIC_LEDGER_SESSION_H

#include "postgres.h"

#include "core/entry.h"

/*
 * session_describe fills in a session entry: event, users, application,
 * client, database, process, tls; not time, party and network. The texts
 * stay valid until the next call.
 */
extern void session_describe(EntryFields *fields);

/*
 * session_current_user returns the current user's name if it is not the user
 * who logged in, else NULL. Valid until the next call.
 */
extern const char *session_current_user(void);

/* session_text makes an EntryText of a C string; absent for NULL and for "". */
extern EntryText session_text(const char *string);

/* session_unix_time returns the present time in microseconds since 1970-01-01 UTC. */
extern int64 session_unix_time(void);

#endif
