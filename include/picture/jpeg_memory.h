/*
 * jpeg_memory.h - memory for libjpeg that is wiped before it is freed.
 *
 * libjpeg's own memory manager frees its pools as they are, and in them rows of pixels and,
 * of a progressive file, all coefficients: the picture. Ours stands in front of it and
 * makes every allocation after jpeg_create_decompress itself, in memory alone.
 */
#ifndef BIOMETRIC_PICTURE_JPEG_MEMORY_H
#define BIOMETRIC_PICTURE_JPEG_MEMORY_H

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

typedef struct JpegBlock JpegBlock;

typedef struct JpegMemory
{
	struct jpeg_memory_mgr methods; /* first: what libjpeg sees */
	struct jpeg_memory_mgr *theirs; /* has what libjpeg needed to begin with */
	JpegBlock *pools[JPOOL_NUMPOOLS];
	size_t left; /* bytes that may still be allocated */
} JpegMemory;

/*
 * jpeg_memory_begin takes over the allocations of a decompressor that was just
 * created; most: bytes that it may have. What is over that, and a failure to
 * allocate, are errors of libjpeg (JERR_OUT_OF_MEMORY). jpeg_destroy_decompress wipes and
 * frees; memory must last until then.
 */
extern void jpeg_memory_begin(JpegMemory *memory, j_decompress_ptr file, size_t most);

#endif
