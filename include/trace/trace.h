/*
 * trace.h - from a file to the image that it is of, and to whom that was released.
 *
 * A file is looked for by its marks (core/mark.h), by its keyed digest, and by what
 * the picture in it looks like (core/picture_hash.h). Nothing is decided here
 * and no image is opened: what is compared are digests and hashes out of the
 * ledger, by keys that this process holds.
 */
#ifndef BIOMETRIC_TRACE_TRACE_H
#define BIOMETRIC_TRACE_TRACE_H

#include "postgres.h"

/* trace_define_settings defines biometric_audit.trace_limit; from _PG_init. */
extern void trace_define_settings(void);

#endif
