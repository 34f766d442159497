/*
 * hooks.h - the server's hooks: saved, chained, dispatched in one place.
 */
#ifndef BIOMETRIC_HOOKS_H
#define BIOMETRIC_HOOKS_H

/* hooks_install puts our hooks in front of those installed before; from _PG_init, once. */
extern void hooks_install(void);

#endif
