/*
 * json.h - texts from outside, written so that neither a JSON parser nor a
 * terminal stumbles: control characters, those that turn or hide text, and those
 * that nobody sees are escaped; bytes that are no UTF-8 become U+FFFD.
 */
#ifndef BIOMETRIC_TOOL_JSON_H
#define BIOMETRIC_TOOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* json_string writes a text of length bytes as a JSON string. */
extern void json_string(FILE *out, const char *text, size_t length);

/* json_is_valid tells whether a text is one JSON value (RFC 8259), nested at most 64 deep. */
extern bool json_is_valid(const char *text, size_t length);

/* json_value writes a text that is a JSON value as it is, without blanks; any other as a string. */
extern void json_value(FILE *out, const char *text, size_t length);

/*
 * json_plain writes a text as json_string does, without the quotes and with no
 * escape for `"` and `\`.
 */
extern void json_plain(FILE *out, const char *text, size_t length);

#endif
