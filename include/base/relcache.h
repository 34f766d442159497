/*
 * relcache.h - who hears that a relation has changed.
 *
 * The server has room for ten such callbacks in a process and ends one that wants an eleventh
 * (FATAL): what it registers itself, in a process that replicates, say, and what other extensions
 * do must fit in beside ours. So all of ours share one.
 */
#ifndef BIOMETRIC_BASE_RELCACHE_H
#define BIOMETRIC_BASE_RELCACHE_H

#include "postgres.h"

#include "utils/inval.h"

/*
 * relcache_watch has a function called, with argument 0, at each relcache invalidation, as
 * CacheRegisterRelcacheCallback has it: relation InvalidOid says that any may have changed. For
 * _PG_init. Beyond MAX_RELCACHE_WATCHES functions: elog ERROR.
 */
#define MAX_RELCACHE_WATCHES 16
extern void relcache_watch(RelcacheCallbackFunction function);

#endif
