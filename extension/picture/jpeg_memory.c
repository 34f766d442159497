/*
 * jpeg_memory.c - memory for libjpeg that is wiped before it is freed.
 */
#include "picture/jpeg_memory.h"

#include <stdlib.h>
#include <string.h>

#include <jerror.h>

#include "core/seal.h"

/* What libjpeg-turbo's vector code wants rows to begin at, and to be a multiple of. */
#define ALIGNMENT 64

struct JpegBlock
{
	JpegBlock *next;
	size_t size; /* with this header */
};

/* A virtual array is an ordinary one here. */
struct jvirt_barray_control
{
	JBLOCKARRAY rows;
	JDIMENSION count;
	JDIMENSION at_once; /* rows that are asked for in one call at most */
};

static JpegMemory *
memory_of(j_common_ptr file)
{
	return (JpegMemory *) file->mem;
}

static size_t
aligned(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void *
take(j_common_ptr file, int pool, size_t size)
{
	JpegMemory *memory = memory_of(file);
	JpegBlock *block = NULL;
	size_t whole;

	if (pool < 0 || pool >= JPOOL_NUMPOOLS || size > memory->left)
		ERREXIT1(file, JERR_OUT_OF_MEMORY, 0);
	whole = ALIGNMENT + aligned(size);
	if (whole <= memory->left)
		block = aligned_alloc(ALIGNMENT, whole);
	if (block == NULL)
		ERREXIT1(file, JERR_OUT_OF_MEMORY, 1);
	memory->left -= whole;
	*block = (JpegBlock){memory->pools[pool], whole};
	memory->pools[pool] = block;
	return (char *) block + ALIGNMENT;
}

/* Memory for so many rows of a size. */
static char *
take_rows(j_common_ptr file, int pool, size_t row_size, JDIMENSION count)
{
	if (count != 0 && row_size > memory_of(file)->left / count)
		ERREXIT1(file, JERR_OUT_OF_MEMORY, 2);
	return take(file, pool, row_size * count);
}

static JSAMPARRAY
take_samples(j_common_ptr file, int pool, JDIMENSION samples, JDIMENSION count)
{
	size_t row_size = aligned(samples * sizeof(JSAMPLE));
	JSAMPARRAY rows = (JSAMPARRAY) take_rows(file, pool, sizeof(JSAMPROW), count);
	char *bytes = take_rows(file, pool, row_size, count);

	for (JDIMENSION i = 0; i < count; i++)
		rows[i] = (JSAMPROW) (bytes + i * row_size);
	return rows;
}

static JBLOCKARRAY
take_blocks(j_common_ptr file, int pool, JDIMENSION blocks, JDIMENSION count)
{
	size_t row_size = aligned(blocks * sizeof(JBLOCK));
	JBLOCKARRAY rows = (JBLOCKARRAY) take_rows(file, pool, sizeof(JBLOCKROW), count);
	char *bytes = take_rows(file, pool, row_size, count);

	for (JDIMENSION i = 0; i < count; i++)
		rows[i] = (JBLOCKROW) (bytes + i * row_size);
	return rows;
}

static jvirt_barray_ptr
request_blocks(j_common_ptr file, int pool, boolean zero, JDIMENSION blocks, JDIMENSION count,
			   JDIMENSION at_once)
{
	jvirt_barray_ptr array = take(file, pool, sizeof(*array));

	*array = (struct jvirt_barray_control){take_blocks(file, pool, blocks, count), count, at_once};
	/* also when that is not asked for: what a broken file leaves out is nobody's old memory */
	for (JDIMENSION i = 0; i < count; i++)
		memset(array->rows[i], 0, blocks * sizeof(JBLOCK));
	return array;
}

static JBLOCKARRAY
access_blocks(j_common_ptr file, jvirt_barray_ptr array, JDIMENSION first, JDIMENSION count,
			  boolean writable)
{
	if (first > array->count || count > array->count - first || count > array->at_once)
		ERREXIT(file, JERR_BAD_VIRTUAL_ACCESS);
	return array->rows + first;
}

/* Virtual arrays of samples are for choosing palettes, which nobody here asks for. */
static jvirt_sarray_ptr
request_samples(j_common_ptr file, int pool, boolean zero, JDIMENSION samples, JDIMENSION count,
				JDIMENSION at_once)
{
	ERREXIT(file, JERR_NOT_COMPILED);
	return NULL;
}

static JSAMPARRAY
access_samples(j_common_ptr file, jvirt_sarray_ptr array, JDIMENSION first, JDIMENSION count,
			   boolean writable)
{
	ERREXIT(file, JERR_BAD_VIRTUAL_ACCESS);
	return NULL;
}

/* They have been since they were requested. */
static void
realize_arrays(j_common_ptr file)
{
}

static void
wipe_pool(JpegMemory *memory, int pool)
{
	while (memory->pools[pool] != NULL)
	{
		JpegBlock *block = memory->pools[pool];

		memory->pools[pool] = block->next;
		memory->left += block->size;
		core_wipe(block, block->size);
		free(block);
	}
}

static void
free_pool(j_common_ptr file, int pool)
{
	JpegMemory *memory = memory_of(file);

	if (pool < 0 || pool >= JPOOL_NUMPOOLS)
		ERREXIT1(file, JERR_BAD_POOL_ID, pool);
	wipe_pool(memory, pool);
	file->mem = memory->theirs;
	memory->theirs->free_pool(file, pool);
	file->mem = &memory->methods;
}

static void
self_destruct(j_common_ptr file)
{
	JpegMemory *memory = memory_of(file);

	for (int pool = 0; pool < JPOOL_NUMPOOLS; pool++)
		wipe_pool(memory, pool);
	file->mem = memory->theirs;
	memory->theirs->self_destruct(file);
}

void
jpeg_memory_begin(JpegMemory *memory, j_decompress_ptr file, size_t most)
{
	*memory = (JpegMemory){.methods = *file->mem, .theirs = file->mem, .left = most};
	memory->methods.alloc_small = take;
	memory->methods.alloc_large = take;
	memory->methods.alloc_sarray = take_samples;
	memory->methods.alloc_barray = take_blocks;
	memory->methods.request_virt_sarray = request_samples;
	memory->methods.request_virt_barray = request_blocks;
	memory->methods.realize_virt_arrays = realize_arrays;
	memory->methods.access_virt_sarray = access_samples;
	memory->methods.access_virt_barray = access_blocks;
	memory->methods.free_pool = free_pool;
	memory->methods.self_destruct = self_destruct;
	file->mem = &memory->methods;
}
