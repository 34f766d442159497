/*
 * advice.h - decisions in words.
 */
#ifndef BIOMETRIC_POLICY_ADVICE_H
#define BIOMETRIC_POLICY_ADVICE_H

#include "policy/policy.h"

/* advice_rule returns the rule behind a reason, a static sentence. */
extern const char *advice_rule(Reason reason);

/*
 * advice_rule_of returns the rule behind a decision, with the figures of a quota, in
 * the current memory context or static.
 */
extern const char *advice_rule_of(const Decision *decision);

/*
 * advice_what_to_do returns what to do about a decision of this session, a
 * sentence, in the current memory context.
 */
extern char *advice_what_to_do(const Decision *decision, ImageKind kind);

#endif
