/*
 * anchor.h - how the delivery of a slot's checkpoints outside of the server
 * is doing, in shared memory beside the checkpoint itself.
 *
 * Written by the one process that delivers, read by everybody.
 */
#ifndef BIOMETRIC_LEDGER_ANCHOR_H
#define BIOMETRIC_LEDGER_ANCHOR_H

#include "postgres.h"

#define LEDGER_ANCHOR_ERROR_SIZE 256

typedef struct LedgerAnchor
{
	uint64 size;	 /* entries that the checkpoint delivered last covers; 0: none yet */
	int64 at;		 /* when; microseconds since 1970-01-01 UTC */
	uint64 failures; /* in a row; 0: the last delivery worked */
	char error[LEDGER_ANCHOR_ERROR_SIZE]; /* of the last failure, or "" */
} LedgerAnchor;

/* ledger_anchor_write replaces a slot's state. The delivering process's only. */
extern void ledger_anchor_write(int number, const LedgerAnchor *anchor);

/* ledger_anchor_read copies it; false, with zeroes, when nothing was delivered or tried. */
extern bool ledger_anchor_read(int number, LedgerAnchor *anchor);

#endif
