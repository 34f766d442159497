/*
 * manage.h - what the management functions share.
 */
#ifndef BIOMETRIC_POLICY_MANAGE_H
#define BIOMETRIC_POLICY_MANAGE_H

#include "postgres.h"

/*
 * manage_require_party raises 42704 unless a party is registered, and keeps
 * it from being renamed or deleted meanwhile. Between change_begin and
 * change_end only.
 */
extern void manage_require_party(const char *party);

#endif
