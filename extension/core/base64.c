/*
 * base64.c - bytes as letters, one way only.
 *
 * EVP_DecodeBlock accepts blanks, and any bits behind the last byte: two texts
 * could then stand for one signature, and a stored line could be changed
 * without anybody noticing.
 */
#include "core/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(const uint8_t *bytes, size_t count, char *out)
{
	for (size_t at = 0; at < count; at += 3)
	{
		size_t left = count - at;
		uint32_t bits = (uint32_t) bytes[at] << 16;

		if (left > 1)
			bits |= (uint32_t) bytes[at + 1] << 8;
		if (left > 2)
			bits |= bytes[at + 2];
		*out++ = alphabet[bits >> 18];
		*out++ = alphabet[bits >> 12 & 0x3f];
		*out++ = left > 1 ? alphabet[bits >> 6 & 0x3f] : '=';
		*out++ = left > 2 ? alphabet[bits & 0x3f] : '=';
	}
	*out = '\0';
}

/* The six bits of a character, or -1. */
static int
character_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Reads four characters, the last `padding` of which are '='; false when they are no base64. */
static bool
read_group(const char *text, int padding, uint32_t *bits)
{
	*bits = 0;
	for (int i = 0; i < 4; i++)
	{
		int value = i < 4 - padding ? character_value(text[i]) : 0;

		if (value < 0)
			return false;
		*bits = *bits << 6 | (uint32_t) value;
	}
	/* What padding cuts off must be zero, or the bytes had more than one encoding. */
	return (*bits & ((UINT32_C(1) << 8 * padding) - 1)) == 0;
}

CoreStatus
base64_decode(const char *text, size_t length, uint8_t *out, size_t capacity, size_t *count)
{
	int padding = 0;
	size_t needed;

	*count = 0;
	if (length % 4 != 0)
		return CORE_MALFORMED;
	if (length > 0 && text[length - 1] == '=')
		padding = text[length - 2] == '=' ? 2 : 1;
	needed = length / 4 * 3 - (size_t) padding;
	if (out != NULL && needed > capacity)
		return CORE_TOO_SMALL;
	for (size_t group = 0; group < length / 4; group++)
	{
		uint32_t bits;

		if (!read_group(text + 4 * group, 4 * group + 4 == length ? padding : 0, &bits))
			return CORE_MALFORMED;
		for (size_t i = 0; out != NULL && i < 3 && 3 * group + i < needed; i++)
			out[3 * group + i] = (uint8_t) (bits >> (16 - 8 * i));
	}
	*count = needed;
	return CORE_OK;
}
