/*
 * test_mark.c - marks: where they stand, that nothing else of the file changes, that they are
 * found whatever became of the file, and that nobody else can make one.
 */
#include "core/mark.h"
#include "samples.h"
#include "tap.h"

static const uint8_t log_id[MARK_LOG_ID_SIZE] = {9, 8, 7};
static const uint8_t image_id[ENVELOPE_ID_SIZE] = {1, 2, 3};
static SealKey key;

/* The time of the disclosures, so that each of its bytes counts. */
#define AT INT64_C(0x0102030405060708)

/* A file with room before it for marks, as they are put in. */
typedef struct Marked
{
	uint8_t *bytes;
	size_t length;
} Marked;

static Mark
made_mark(int64_t sequence)
{
	Mark mark;

	if (mark_make(&key, log_id, sequence, AT, image_id, &mark) != CORE_OK)
		abort();
	return mark;
}

/* Marks a copy of exactly the length that it gets. */
static CoreStatus
marked(ImageFormat format, const uint8_t *bytes, size_t length, int64_t sequence, Marked *result)
{
	size_t overhead = mark_overhead(format);
	Mark mark = made_mark(sequence);

	result->length = length + overhead;
	result->bytes = malloc(result->length);
	memset(result->bytes, 0xa5, overhead);
	memcpy(result->bytes + overhead, bytes, length);
	return mark_insert(format, result->bytes, length, &mark);
}

/* Whether a file without the bytes at offset is another one. */
static bool
is_without(const Marked *file, size_t offset, size_t size, const uint8_t *other, size_t length)
{
	return file->length - size == length && memcmp(file->bytes, other, offset) == 0 &&
		   memcmp(file->bytes + offset + size, other + offset, length - offset) == 0;
}

static Sample
sample_of(ImageFormat format)
{
	Sample sample = {.length = 0};

	for (int i = 0; i < sample_kind_count; i++)
	{
		if (sample_kinds[i].format == format && sample.length == 0)
			sample_kinds[i].make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	}
	return sample;
}

static void
check_format(ImageFormat format, const char *name)
{
	Sample sample = sample_of(format);
	Marked file;
	Mark mark;
	ImageInfo info;
	size_t offset;
	size_t size;

	tap_ok(marked(format, sample.bytes, sample.length, 77, &file) == CORE_OK,
		   "a %s file takes a mark", name);
	tap_ok(image_probe(file.bytes, file.length, &info) == CORE_OK && info.format == format &&
			   info.width == SAMPLE_WIDTH && info.height == SAMPLE_HEIGHT,
		   "the marked %s file is still one", name);
	tap_ok(mark_find(file.bytes, file.length, &mark, &offset, &size) && mark.sequence == 77 &&
			   mark.key_id == key.id && memcmp(mark.log_id, log_id, sizeof(log_id)) == 0,
		   "the %s file's mark is found", name);
	tap_ok(mark_check(&key, &mark, AT, image_id) == CORE_OK, "the %s file's mark is authentic",
		   name);
	tap_ok(size == mark_overhead(format) &&
			   is_without(&file, offset, size, sample.bytes, sample.length),
		   "without its mark the %s file is what it was, byte for byte", name);
	free(file.bytes);
}

/* Cut short anywhere: found exactly as long as it is there as a whole; nothing is read beyond. */
static void
check_cut(ImageFormat format, const char *name)
{
	Sample sample = sample_of(format);
	Marked file;
	Mark mark;
	long failed = 0;
	long first = -1;
	size_t offset;
	size_t size;
	size_t end;
	char text[80];

	if (marked(format, sample.bytes, sample.length, 5, &file) != CORE_OK ||
		!mark_find(file.bytes, file.length, &mark, &offset, &size))
		abort();
	end = offset + size;
	for (size_t length = 0; length < file.length; length++)
	{
		uint8_t *copy = tap_copy(file.bytes, length);
		bool found = mark_find(copy, length, &mark, &offset, &size);

		if (found != (length >= end) && failed++ == 0)
			first = (long) length;
		free(copy);
	}
	snprintf(text, sizeof(text), "a %s file cut short behind its mark still has it", name);
	tap_all(failed, (long) file.length, first, text);
	free(file.bytes);
}

static bool
is_same(const Mark *one, const Mark *other)
{
	return one->key_id == other->key_id && one->sequence == other->sequence &&
		   memcmp(one->log_id, other->log_id, sizeof(one->log_id)) == 0 &&
		   memcmp(one->mac, other->mac, sizeof(one->mac)) == 0;
}

/* Every byte changed: no mark, or one that is not authentic, or the very same. */
static void
check_flipped(ImageFormat format, const char *name)
{
	Sample sample = sample_of(format);
	Marked file;
	Mark whole;
	Mark mark;
	long failed = 0;
	long first = -1;
	size_t offset;
	size_t size;
	char text[80];

	if (marked(format, sample.bytes, sample.length, 5, &file) != CORE_OK ||
		!mark_find(file.bytes, file.length, &whole, &offset, &size))
		abort();
	for (size_t bit = 0; bit < file.length * 8; bit++)
	{
		size_t its_offset;
		size_t its_size;

		file.bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (mark_find(file.bytes, file.length, &mark, &its_offset, &its_size) &&
			mark_check(&key, &mark, AT, image_id) == CORE_OK && !is_same(&mark, &whole) &&
			failed++ == 0)
			first = (long) bit;
		file.bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	snprintf(text, sizeof(text), "no bit of a %s file's mark can be changed", name);
	tap_all(failed, (long) file.length * 8, first, text);
	free(file.bytes);
}

/* Appends a JPEG segment that begins with a text. */
static void
segment(Sample *sample, uint8_t marker, const char *text, size_t length)
{
	sample_number(sample, 0xff00U | marker, 2);
	sample_number(sample, length + 2, 2);
	sample_bytes(sample, text, length);
}

/* A JPEG sample with segments between SOI and what follows it. */
static Sample
with_segments(void)
{
	Sample plain = sample_of(IMAGE_FORMAT_JPEG);
	Sample sample = {.length = 0};

	sample_bytes(&sample, plain.bytes, 2);
	segment(&sample, 0xe0, "JFIF\0\1\2\0\0\1\0\1\0\0", 14);
	segment(&sample, 0xe1, "Exif\0\0MM\0*", 10);
	segment(&sample, 0xe1, "http://ns.adobe.com/xap/1.0/\0<x/>", 33);
	segment(&sample, 0xeb, "JP\0\1\0\0\0\1\0\0\0\10jumb", 16);
	segment(&sample, 0xeb, "biometric_audit\0something else", 30);
	sample_bytes(&sample, plain.bytes + 2, plain.length - 2);
	return sample;
}

static void
check_foreign(void)
{
	Sample sample = with_segments();
	Marked file;
	Mark mark;
	size_t offset = 0;
	size_t size = 0;
	size_t after = 2 + (4 + 14) + (4 + 10) + (4 + 33);

	tap_ok(!mark_find(sample.bytes, sample.length, &mark, &offset, &size) && mark.key_id == 0,
		   "JUMBF, JPEG XT and whoever uses our name are not taken for a mark");
	tap_ok(marked(IMAGE_FORMAT_JPEG, sample.bytes, sample.length, 6, &file) == CORE_OK &&
			   mark_find(file.bytes, file.length, &mark, &offset, &size) && mark.sequence == 6,
		   "a mark is found among foreign APP11 segments");
	tap_number((long long) offset, (long long) after, "it stands behind JFIF, Exif and XMP");
	tap_ok(is_without(&file, offset, size, sample.bytes, sample.length),
		   "without it the file is what it was");
	free(file.bytes);
}

static void
check_again(ImageFormat format, const char *name)
{
	Sample sample = sample_of(format);
	Marked once;
	Marked twice;
	Mark mark;
	size_t offset;
	size_t size;
	size_t next;

	if (marked(format, sample.bytes, sample.length, 1, &once) != CORE_OK ||
		marked(format, once.bytes, once.length, 2, &twice) != CORE_OK)
		abort();
	tap_ok(mark_find(twice.bytes, twice.length, &mark, &offset, &size) && mark.sequence == 2,
		   "of a %s file that was marked twice the newest mark is found first", name);
	tap_ok(is_without(&twice, offset, size, once.bytes, once.length),
		   "without it the %s file is as it was marked before", name);
	next = offset + 1;
	tap_ok(mark_find(twice.bytes + next, twice.length - next, &mark, &offset, &size) &&
			   mark.sequence == 1,
		   "the older mark of the %s file is found behind it", name);
	free(once.bytes);
	free(twice.bytes);
}

static void
check_refused(ImageFormat format, const char *bytes, size_t length, const char *name)
{
	Marked file;

	tap_ok(marked(format, (const uint8_t *) bytes, length, 1, &file) == CORE_MALFORMED &&
			   memcmp(file.bytes, bytes, length) == 0,
		   "%s takes no mark, and comes back as it was", name);
	free(file.bytes);
}

static void
check_places(void)
{
	Sample png = sample_of(IMAGE_FORMAT_PNG);

	check_refused(IMAGE_FORMAT_JPEG, "", 0, "an empty file");
	check_refused(IMAGE_FORMAT_JPEG, "\xff\xd8", 2, "a JPEG file of two bytes");
	check_refused(IMAGE_FORMAT_JPEG, "\xff\xd8\xff\xe0\xff\xff", 6,
				  "a JPEG file whose APP0 is longer than the file");
	check_refused(IMAGE_FORMAT_JPEG, "\xff\xd8\xff\xe1\x00\x01\xff\xda", 8,
				  "a JPEG file whose APP1 is shorter than its length");
	check_refused(IMAGE_FORMAT_JPEG, "\xff\xd8\x00\x01", 4, "a JPEG file without a marker");
	check_refused(IMAGE_FORMAT_JPEG, "\xff\xd8\xff\xff\xff", 5, "a JPEG file of fill bytes");
	check_refused(IMAGE_FORMAT_PNG, (const char *) png.bytes, 33, "a PNG file of its header");
	check_refused(IMAGE_FORMAT_PNG, "\x89PNG\r\n\x1a\n", 8, "a PNG file of its signature");
	png.bytes[12] = 'i';
	check_refused(IMAGE_FORMAT_PNG, (const char *) png.bytes, png.length,
				  "a PNG file that begins with another chunk");
}

static void
check_others(void)
{
	long failed = 0;
	int total = 0;

	for (int i = 0; i < sample_kind_count; i++)
	{
		Sample sample = sample_of(sample_kinds[i].format);
		Marked file;

		if (mark_overhead(sample_kinds[i].format) > 0)
			continue;
		total++;
		if (marked(sample_kinds[i].format, sample.bytes, sample.length, 1, &file) !=
				CORE_MALFORMED ||
			file.length != sample.length || memcmp(file.bytes, sample.bytes, sample.length) != 0)
			failed++;
		free(file.bytes);
	}
	tap_all(failed, total, 0, "other formats take no mark");
}

/* Of two entries of one number, in one log, of one image, the mark is of one. */
static void
check_times(const Mark *mark)
{
	long failed = 0;
	long first = -1;

	for (int bit = 0; bit < 64; bit++)
		if (mark_check(&key, mark, (int64_t) ((uint64_t) AT ^ UINT64_C(1) << bit), image_id) !=
				CORE_NOT_AUTHENTIC &&
			failed++ == 0)
			first = bit;
	tap_all(failed, 64, first, "nor for a disclosure of the same number at any other time");
}

static void
check_macs(void)
{
	static const uint8_t other_master[SEAL_MASTER_KEY_SIZE] = {2};
	static const uint8_t other_image[ENVELOPE_ID_SIZE] = {1, 2, 4};
	Mark mark = made_mark(12);
	Mark changed;
	SealKey other;

	tap_ok(mark_check(&key, &mark, AT, other_image) == CORE_NOT_AUTHENTIC,
		   "a mark is not authentic for another image");
	changed = mark;
	changed.sequence = 13;
	tap_ok(mark_check(&key, &changed, AT, image_id) == CORE_NOT_AUTHENTIC,
		   "nor for another disclosure");
	changed = mark;
	changed.log_id[15] ^= 1;
	tap_ok(mark_check(&key, &changed, AT, image_id) == CORE_NOT_AUTHENTIC, "nor for another log");
	check_times(&mark);
	if (seal_key_init(&other, key.id, other_master) != CORE_OK)
		abort();
	tap_ok(mark_check(&other, &mark, AT, image_id) == CORE_NOT_AUTHENTIC,
		   "nor by another key of the same number");
	if (seal_key_init(&other, key.id + 1, other_master) != CORE_OK)
		abort();
	tap_ok(mark_check(&other, &mark, AT, image_id) == CORE_WRONG_KEY, "a key has a number");
	tap_ok(mark_make(&key, log_id, -1, AT, image_id, &changed) == CORE_MALFORMED &&
			   changed.key_id == 0,
		   "what has no number gets no mark");
}

/* Whatever stands in a PNG file, its chunks' sums must be right, or nobody shows it. */
static void
check_png_sum(void)
{
	Sample sample = sample_of(IMAGE_FORMAT_PNG);
	Marked file;
	uint32_t crc = UINT32_MAX;
	size_t from = 33 + 4;

	if (marked(IMAGE_FORMAT_PNG, sample.bytes, sample.length, 3, &file) != CORE_OK)
		abort();
	for (size_t i = from; i < from + 4 + MARK_SIZE; i++)
	{
		crc ^= file.bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 1) ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	tap_number((long long) ((uint32_t) file.bytes[from + 4 + MARK_SIZE] << 24 |
							(uint32_t) file.bytes[from + 5 + MARK_SIZE] << 16 |
							(uint32_t) file.bytes[from + 6 + MARK_SIZE] << 8 |
							(uint32_t) file.bytes[from + 7 + MARK_SIZE]),
			   (long long) (uint32_t) ~crc, "the chunk's CRC is right");
	tap_ok(memcmp(file.bytes + 33, "\0\0\0\104bmMK", 8) == 0,
		   "the chunk is ancillary, private, not to be copied by who changes the picture");
	free(file.bytes);
}

/* A file kept whole in another one: what a document or a disk image does with a picture. */
static void
check_within(void)
{
	Sample sample = sample_of(IMAGE_FORMAT_JPEG);
	Sample outer = {.length = 0};
	Marked file;
	Mark mark;
	size_t offset;
	size_t size;

	if (marked(IMAGE_FORMAT_JPEG, sample.bytes, sample.length, 3, &file) != CORE_OK)
		abort();
	sample_text(&outer, "%PDF-1.7 BIOMARK BBBIOMARK ");
	sample_bytes(&outer, file.bytes, file.length);
	tap_ok(mark_find(outer.bytes, outer.length, &mark, &offset, &size) && mark.sequence == 3,
		   "a file within another one gives its mark, too");
	free(file.bytes);
}

int
main(void)
{
	static const uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};

	if (seal_key_init(&key, 7, master) != CORE_OK)
		abort();
	check_format(IMAGE_FORMAT_JPEG, "JPEG");
	check_format(IMAGE_FORMAT_PNG, "PNG");
	check_cut(IMAGE_FORMAT_JPEG, "JPEG");
	check_cut(IMAGE_FORMAT_PNG, "PNG");
	check_flipped(IMAGE_FORMAT_JPEG, "JPEG");
	check_flipped(IMAGE_FORMAT_PNG, "PNG");
	check_again(IMAGE_FORMAT_JPEG, "JPEG");
	check_again(IMAGE_FORMAT_PNG, "PNG");
	check_foreign();
	check_within();
	check_places();
	check_others();
	check_macs();
	check_png_sum();
	return tap_done();
}
