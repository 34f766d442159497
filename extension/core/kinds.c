/*
 * kinds.c - the table of kinds.
 */
#include "core/kinds.h"

#include <string.h>

static const char *const kind_names[IMAGE_KIND_LAST + 1] = {
	[IMAGE_KIND_FACE] = "face",			[IMAGE_KIND_PLATE] = "plate",
	[IMAGE_KIND_DOCUMENT] = "document", [IMAGE_KIND_FINGERPRINT] = "fingerprint",
	[IMAGE_KIND_IRIS] = "iris",
};

const char *
image_kind_name(int kind)
{
	if (kind <= IMAGE_KIND_NONE || kind > IMAGE_KIND_LAST)
		return NULL;
	return kind_names[kind];
}

ImageKind
image_kind_from_name(const char *name)
{
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		if (strcmp(name, kind_names[kind]) == 0)
			return (ImageKind) kind;
	}
	return IMAGE_KIND_NONE;
}
