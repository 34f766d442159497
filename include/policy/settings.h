/*
 * settings.h - what the settings of this room say.
 */
#ifndef BIOMETRIC_POLICY_SETTINGS_H
#define BIOMETRIC_POLICY_SETTINGS_H

#include "postgres.h"

/* The longest purpose, and name of a party, in bytes. */
#define POLICY_NAME_SIZE 200

/* policy_observes tells whether biometric_audit.enforcement is observe. */
extern bool policy_observes(void);

/* policy_capacity returns biometric_audit.policy_size in bytes. */
extern Size policy_capacity(void);

/*
 * policy_clean_name cuts blanks off both ends of a purpose or a name, in
 * place, and returns NULL, or what is wrong with it as a static phrase:
 * longer than POLICY_NAME_SIZE, a control character, bad encoding. An empty
 * name is left to the caller.
 */
extern const char *policy_clean_name(char *name);

#endif
