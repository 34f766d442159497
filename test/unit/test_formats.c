/*
 * test_formats.c - every format: whole, cut short at every length, with every
 * byte changed, with impossible dimensions, and with the faults of its own.
 */
#include "core/envelope.h"
#include "core/formats.h"
#include "samples.h"
#include "tap.h"

static Sample
made(const char *name)
{
	Sample sample = {.length = 0};

	for (int i = 0; i < sample_kind_count; i++)
	{
		if (strcmp(sample_kinds[i].name, name) == 0)
			sample_kinds[i].make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	}
	if (sample.length == 0)
		abort();
	return sample;
}

/* Probes a copy of exactly that length. */
static CoreStatus
probe(const uint8_t *bytes, size_t length, ImageInfo *info)
{
	uint8_t *copy = tap_copy(bytes, length);
	CoreStatus status = image_probe(copy, length, info);

	free(copy);
	return status;
}

static bool
is_sane(CoreStatus status, const ImageInfo *info)
{
	if (status == CORE_OK)
		return image_format_name((int) info->format) != NULL && info->width >= 1 &&
			   info->width <= IMAGE_MAX_SIDE && info->height >= 1 && info->height <= IMAGE_MAX_SIDE;
	return info->width == 0 && info->height == 0;
}

static void
check_whole(const SampleKind *kind)
{
	Sample sample = {.length = 0};
	ImageInfo info;
	CoreStatus status;

	kind->make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	status = probe(sample.bytes, sample.length, &info);
	tap_ok(status == CORE_OK && info.format == kind->format && info.width == SAMPLE_WIDTH &&
			   info.height == SAMPLE_HEIGHT,
		   "%s is recognised, 64 by 48 pixels (%s)", kind->name, core_status_text(status));
}

static void
check_cut(const SampleKind *kind)
{
	Sample sample = {.length = 0};
	long failed = 0;
	long first = -1;
	char name[80];

	kind->make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	for (size_t length = 0; length < sample.length; length++)
	{
		ImageInfo info;
		CoreStatus status = probe(sample.bytes, length, &info);
		bool known = info.format == kind->format;

		if ((status != (known ? CORE_TRUNCATED : CORE_NOT_AN_IMAGE) || (length > 12 && !known) ||
			 !is_sane(status, &info)) &&
			failed++ == 0)
			first = (long) length;
	}
	snprintf(name, sizeof(name), "%s cut short anywhere is truncated", kind->name);
	tap_all(failed, (long) sample.length, first, name);
}

/* Whatever byte is changed to whatever value: an answer, never nonsense. */
static void
check_changed(const SampleKind *kind)
{
	Sample sample = {.length = 0};
	long failed = 0;
	long first = -1;
	char name[80];

	kind->make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	for (size_t at = 0; at < sample.length; at++)
	{
		uint8_t kept = sample.bytes[at];

		for (int value = 0; value < 256; value++)
		{
			ImageInfo info;
			CoreStatus status;

			sample.bytes[at] = (uint8_t) value;
			status = probe(sample.bytes, sample.length, &info);
			if (!is_sane(status, &info) && failed++ == 0)
				first = (long) at;
		}
		sample.bytes[at] = kept;
	}
	snprintf(name, sizeof(name), "%s with any byte changed gets a sane answer", kind->name);
	tap_all(failed, 256 * (long) sample.length, first, name);
}

static CoreStatus
probe_sized(const SampleKind *kind, uint32_t width, uint32_t height)
{
	Sample sample = {.length = 0};
	ImageInfo info;

	kind->make(&sample, width, height);
	return probe(sample.bytes, sample.length, &info);
}

static void
check_dimensions(const SampleKind *kind)
{
	/* A JPEG 2000 image needs its first tile to reach it, so its extent is what shrinks. */
	tap_number(probe_sized(kind, 0, 48), CORE_BAD_DIMENSIONS, "zero width is refused");
	tap_number(probe_sized(kind, 64, 0), CORE_BAD_DIMENSIONS, "zero height is refused");
	tap_number(probe_sized(kind, 0, 0), CORE_BAD_DIMENSIONS, "zero width and height are refused");
	tap_number(probe_sized(kind, 65535, 65535), CORE_OK, "65535 by 65535 pixels are taken");
	if (kind->largest <= IMAGE_MAX_SIDE)
		return;
	tap_number(probe_sized(kind, 65536, 48), CORE_BAD_DIMENSIONS, "65536 columns are refused");
	tap_number(probe_sized(kind, 64, 65536), CORE_BAD_DIMENSIONS, "65536 rows are refused");
	tap_number(probe_sized(kind, kind->largest, 48), CORE_BAD_DIMENSIONS,
			   "the widest that the field holds is refused");
}

/* What a format allows after its end. */
static void
check_padding(const SampleKind *kind)
{
	bool allowed = kind->format < IMAGE_FORMAT_FIR || kind->format == IMAGE_FORMAT_AN2K;
	Sample sample = {.length = 0};
	ImageInfo info;
	CoreStatus status;

	kind->make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	sample_number(&sample, 0, 3);
	status = probe(sample.bytes, sample.length, &info);
	tap_ok((status == CORE_OK) == allowed, "%s followed by zeroes is %s", kind->name,
		   allowed ? "taken" : "refused");
	sample_number(&sample, 'x', 1);
	status = probe(sample.bytes, sample.length, &info);
	/* Cameras append to JPEGs, whose own structure says where the image ends. */
	tap_ok((status == CORE_OK) == (kind->format == IMAGE_FORMAT_JPEG),
		   "%s followed by something else is %s", kind->name,
		   kind->format == IMAGE_FORMAT_JPEG ? "taken" : "refused");
}

/* A sample with one thing wrong. */
typedef struct Fault
{
	const char *sample;
	size_t offset;
	uint64_t value;
	int size;
	CoreStatus expected;
	const char *name;
} Fault;

static const Fault faults[] = {
	{"jpeg", 4, 1, 2, CORE_MALFORMED, "a JPEG segment shorter than its length field"},
	{"jpeg", 3, 0xd8, 1, CORE_MALFORMED, "a JPEG with a second start of image"},
	{"jpeg", 3, 0xd9, 1, CORE_MALFORMED, "a JPEG that ends before its scan"},
	{"jpeg", 2, 0x00, 1, CORE_NOT_AN_IMAGE, "a JPEG without a marker after its start"},
	{"jpeg", 20, 0x12, 1, CORE_MALFORMED, "a JPEG with no marker where one must be"},
	{"jpeg", 21, 0xc0, 1, CORE_MALFORMED, "a JPEG frame header of another length"},
	{"jpeg", 31, 0xc4, 1, CORE_MALFORMED, "a JPEG with a scan but no frame"},
	{"jpeg", 39, 2, 1, CORE_MALFORMED, "a JPEG frame that counts more components than it has"},
	{"jpeg", 39, 0, 1, CORE_MALFORMED, "a JPEG frame without components"},
	{"jpeg", 47, 3, 1, CORE_MALFORMED, "a JPEG scan that counts more components than it has"},
	{"png", 8, 14, 4, CORE_MALFORMED, "a PNG header of another length"},
	{"png", 12, 0x49484453, 4, CORE_MALFORMED, "a PNG that begins with another chunk"},
	{"png", 16, 65, 4, CORE_MALFORMED, "a PNG header whose CRC is wrong"},
	{"png", 33, 0x80000000, 4, CORE_MALFORMED, "a PNG chunk of more than 2^31-1 bytes"},
	{"png", 37, 0x74455831, 4, CORE_MALFORMED, "a PNG chunk whose type is not letters"},
	{"png", 37, 0x49484452, 4, CORE_MALFORMED, "a PNG with a second header"},
	{"png", 52, 0x49444155, 4, CORE_MALFORMED, "a PNG without image data"},
	{"j2k", 2, 0xff52, 2, CORE_NOT_AN_IMAGE, "a codestream that does not begin with its size"},
	{"j2k", 4, 44, 2, CORE_MALFORMED, "a codestream size segment of another length"},
	{"j2k", 24, 0, 4, CORE_MALFORMED, "a codestream with tiles of no width"},
	{"j2k", 24, 5, 4, CORE_MALFORMED, "a codestream whose first tile ends before the image"},
	{"j2k", 32, 6, 4, CORE_MALFORMED, "a codestream whose first tile begins after the image"},
	{"j2k", 40, 2, 2, CORE_MALFORMED, "a codestream that counts more components than it has"},
	{"j2k", 45, 0xff51, 2, CORE_MALFORMED, "a codestream with a second size"},
	{"j2k", 45, 0xffd9, 2, CORE_MALFORMED, "a codestream that ends before its tiles"},
	{"j2k", 45, 0x1234, 2, CORE_MALFORMED, "a codestream with no marker where one must be"},
	{"j2k", 49, 1, 2, CORE_MALFORMED, "a codestream segment shorter than its length field"},
	{"j2k", 57, 11, 2, CORE_MALFORMED, "a tile-part header of another length"},
	{"j2k", 61, 13, 4, CORE_MALFORMED, "a tile-part too short for its header"},
	{"j2k", 61, 44, 4, CORE_MALFORMED, "a tile-part that ends within its data"},
	{"j2k", 61, 0xffffffff, 4, CORE_TRUNCATED, "a tile-part that goes beyond the end"},
	{"jp2", 16, 0x66747971, 4, CORE_MALFORMED, "a JP2 file without a file type box"},
	{"jp2", 32, 0x6a707820, 4, CORE_MALFORMED, "a JP2 file that is not compatible with JP2"},
	{"jp2", 12, 7, 4, CORE_MALFORMED, "a JP2 box shorter than its header"},
	{"jp2", 40, 0x6a703269, 4, CORE_MALFORMED, "a JP2 file without a JP2 header"},
	{"jp2", 48, 0x69686473, 4, CORE_MALFORMED, "a JP2 header without an image header"},
	{"jp2", 44, 200, 4, CORE_MALFORMED, "a JP2 image header larger than what it is in"},
	{"jp2", 52, 49, 4, CORE_MALFORMED, "a JP2 header that contradicts its codestream"},
	{"jp2", 56, 65, 4, CORE_MALFORMED, "a JP2 header that contradicts it in the width"},
	{"jp2", 101, 15, 8, CORE_MALFORMED, "a JP2 box with a long length shorter than its header"},
	{"jp2", 101, UINT64_MAX, 8, CORE_TRUNCATED, "a JP2 box of 2^64-1 bytes"},
	{"wsq", 2, 0xffa1, 2, CORE_MALFORMED, "a WSQ file that ends before its blocks"},
	{"wsq", 2, 0xffa0, 2, CORE_MALFORMED, "a WSQ file with a second start of image"},
	{"wsq", 4, 1, 2, CORE_MALFORMED, "a WSQ segment shorter than its length field"},
	{"wsq", 10, 0xffa4, 2, CORE_MALFORMED, "a WSQ file with a block but no frame"},
	{"wsq", 10, 0xffa8, 2, CORE_MALFORMED, "a WSQ file whose frame is a comment"},
	{"wsq", 12, 16, 2, CORE_MALFORMED, "a WSQ frame header of another length"},
	{"fir-2005", 4, 0x30343000, 4, CORE_MALFORMED, "a finger record of an unknown version"},
	{"fir-2005", 18, 0, 1, CORE_MALFORMED, "a finger record without fingers"},
	{"fir-2005", 18, 4, 1, CORE_MALFORMED, "a finger record with fewer images than fingers"},
	{"fir-2005", 32, 13, 4, CORE_MALFORMED, "a finger block too short for its header"},
	{"fir-2005", 32, 14, 4, CORE_MALFORMED, "a finger block without data"},
	{"fir-2005", 32, 0xffffffff, 4, CORE_MALFORMED, "a finger block beyond the record"},
	{"fir-2011", 12, 0, 2, CORE_MALFORMED, "a finger record without representations"},
	{"fir-2011", 12, 1, 2, CORE_MALFORMED, "a finger record with more than it counts"},
	{"fir-2011", 12, 3, 2, CORE_MALFORMED, "a finger record with fewer than it counts"},
	{"fir-2011", 14, 2, 1, CORE_MALFORMED, "a finger record certified in an unknown way"},
	{"fir-2011", 14, 1, 1, CORE_MALFORMED, "a finger record that lacks its certificates"},
	{"fir-2011", 16, 3, 4, CORE_MALFORMED, "a representation shorter than its length field"},
	{"fir-2011", 16, 0xffffffff, 4, CORE_MALFORMED, "a representation beyond the record"},
	{"fir-2011", 58, 0, 4, CORE_MALFORMED, "a finger image without data"},
	{"fir-2011", 58, 0xffffffff, 4, CORE_MALFORMED, "a finger image beyond the record"},
	{"fac-2005", 4, 0x30323000, 4, CORE_MALFORMED, "a face record of an unknown version"},
	{"fac-2005", 12, 0, 2, CORE_MALFORMED, "a face record without faces"},
	{"fac-2005", 12, 1, 2, CORE_MALFORMED, "a face record with more than it counts"},
	{"fac-2005", 12, 3, 2, CORE_MALFORMED, "a face record with fewer than it counts"},
	{"fac-2005", 18, 0xffff, 2, CORE_MALFORMED, "a face with more points than it has room for"},
	{"fac-2005", 109, 0, 2, CORE_BAD_DIMENSIONS, "a record whose second face has no height"},
	{"fac-2005", 14, 46, 4, CORE_MALFORMED, "a face without data"},
	{"fac-2011", 14, 1, 1, CORE_MALFORMED, "a face record that is certified"},
	{"fac-2011", 41, 0xffff, 2, CORE_MALFORMED, "a face with more landmarks than it has"},
	{"fac-2011", 85, 0, 4, CORE_MALFORMED, "a face image without data"},
	{"iir-2005", 4, 0x30333000, 4, CORE_MALFORMED, "an iris record of an unknown version"},
	{"iir-2005", 14, 0, 1, CORE_MALFORMED, "an iris record without eyes"},
	{"iir-2005", 14, 1, 1, CORE_MALFORMED, "an iris record with more eyes than it counts"},
	{"iir-2005", 15, 46, 2, CORE_MALFORMED, "an iris record header of another length"},
	{"iir-2005", 46, 0xffff, 2, CORE_MALFORMED, "an eye with fewer images than it counts"},
	{"iir-2005", 55, 0, 4, CORE_MALFORMED, "an iris image without data"},
	{"iir-2011", 14, 1, 1, CORE_MALFORMED, "an iris record that is certified"},
	{"iir-2011", 12, 2, 2, CORE_MALFORMED, "an iris record with fewer than it counts"},
	{"iir-2011", 69, 0xffffffff, 4, CORE_MALFORMED, "an iris image beyond the record"},
};

static void
check_faults(void)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		Sample sample = made(faults[i].sample);
		ImageInfo info;

		sample_patch(&sample, faults[i].offset, faults[i].value, faults[i].size);
		tap_number(probe(sample.bytes, sample.length, &info), faults[i].expected, faults[i].name);
	}
}

/* A record of ISO/IEC 19794 must be as long as it says. */
static void
check_record_length(const SampleKind *kind)
{
	int size = strcmp(kind->name, "fir-2005") == 0 ? 6 : 4;
	Sample sample = {.length = 0};
	ImageInfo info;

	if (kind->format < IMAGE_FORMAT_FIR || kind->format > IMAGE_FORMAT_IIR)
		return;
	kind->make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
	sample_patch(&sample, 8, sample.length + 1, size);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_TRUNCATED,
			   "a record that says it is longer than it is");
	sample_patch(&sample, 8, sample.length - 1, size);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
			   "a record that says it is shorter than it is");
}

/* A record of 2005 with a header that is whole, and no eye. */
static void
check_no_eyes(void)
{
	Sample sample = made("iir-2005");
	ImageInfo info;

	sample.length = 45;
	sample_patch(&sample, 8, sample.length, 4);
	sample_patch(&sample, 14, 0, 1);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
			   "an iris record of a header alone");
}

/* The values of PNG's IHDR that are none. */
static void
check_png_header(void)
{
	static const uint8_t allowed[][2] = {
		{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
		{3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16},
	};
	Sample sample = made("png");
	ImageInfo info;
	long failed = 0;

	for (int colour = 0; colour < 256; colour++)
	{
		for (int depth = 0; depth < 256; depth++)
		{
			bool expected = false;

			for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
				expected = expected || (allowed[i][0] == colour && allowed[i][1] == depth);
			sample.bytes[24] = (uint8_t) depth;
			sample.bytes[25] = (uint8_t) colour;
			sample_png_crc(&sample);
			failed += (image_probe(sample.bytes, sample.length, &info) == CORE_OK) != expected;
		}
	}
	tap_all(failed, 65536, -1, "the colour types and depths of a PNG are those of the standard");
	sample = made("png");
	for (int at = 26; at < 29; at++)
	{
		sample.bytes[at] = 2;
		sample_png_crc(&sample);
		tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
				   "an unknown compression, filter or interlace method of a PNG");
		sample.bytes[at] = 0;
	}
}

static CoreStatus
probe_an2k(int type, const char *fields, ImageInfo *info)
{
	Sample sample = {.length = 0};

	sample_an2k(&sample, type, fields);
	return probe(sample.bytes, sample.length, info);
}

static void
check_an2k_types(void)
{
	static const int with_image[] = {10, 13, 14, 15, 16, 17, 19};
	ImageInfo info;
	char fields[80];

	for (size_t i = 0; i < sizeof(with_image) / sizeof(with_image[0]); i++)
	{
		int type = with_image[i];

		snprintf(fields, sizeof(fields), "%d.006:500\x1d%d.007:600\x1d%d.999:x", type, type, type);
		tap_ok(probe_an2k(type, fields, &info) == CORE_OK && info.width == 500 &&
				   info.height == 600,
			   "a Type-%d record tells its dimensions", type);
	}
	tap_number(probe_an2k(2,
						  "2.006:500\x1d"
						  "2.007:600",
						  &info),
			   CORE_NOT_AN_IMAGE, "a transaction without an image record is no image");
	tap_number(probe_an2k(14, "14.018:1", &info), CORE_NOT_AN_IMAGE,
			   "nor is one whose image record has no image");
	tap_number(probe_an2k(14, "14.006:500", &info), CORE_BAD_DIMENSIONS,
			   "a width without a height is refused");
	tap_number(probe_an2k(14,
						  "14.006:x\x1d"
						  "14.007:5",
						  &info),
			   CORE_MALFORMED, "a width that is no number is refused");
	tap_number(probe_an2k(14,
						  "14.006:99999999999\x1d"
						  "14.007:5",
						  &info),
			   CORE_MALFORMED, "a width of eleven digits is refused");
	tap_number(probe_an2k(14,
						  "14.006:4294967301\x1d"
						  "14.007:5",
						  &info),
			   CORE_BAD_DIMENSIONS, "a width beyond 32 bits is too large, not small");
	tap_number(probe_an2k(14,
						  "13.006:5\x1d"
						  "14.007:5",
						  &info),
			   CORE_MALFORMED, "a field of another type is refused");
	tap_number(probe_an2k(14, "14:5", &info), CORE_MALFORMED, "a tag without a number is refused");
}

static void
check_an2k_text(const char *text, CoreStatus expected, const char *name)
{
	ImageInfo info;

	tap_number(probe((const uint8_t *) text, strlen(text), &info), expected, name);
}

static void
check_an2k_structure(void)
{
	ImageInfo info;
	Sample sample = made("an2k-binary");

	check_an2k_text("1.001:", CORE_TRUNCATED, "a transaction that ends in its first tag");
	check_an2k_text("1.001:0\x1c", CORE_MALFORMED, "a record of no length");
	check_an2k_text("1.001:x\x1c", CORE_MALFORMED, "a length that is no number");
	check_an2k_text("1.001:9\x1dx", CORE_MALFORMED, "a record that does not end with FS");
	check_an2k_text("1.001:9\x1d\x1c", CORE_MALFORMED, "a Type-1 record with a field of nothing");
	check_an2k_text("1.001:14\x1d"
					"2.3:\x1c",
					CORE_MALFORMED, "a Type-1 field of another type");
	check_an2k_text("1.001:14\x1d"
					"1.2:\x1c",
					CORE_MALFORMED, "a Type-1 record without a list");
	check_an2k_text("1.001:14\x1d"
					"1.3:\x1c",
					CORE_MALFORMED, "an empty list");
	check_an2k_text("1.001:17\x1d"
					"1.3:2\x1f"
					"1\x1c",
					CORE_MALFORMED, "a list that does not begin with Type-1");
	check_an2k_text("1.001:17\x1d"
					"1.3:1\x1f"
					"1\x1c",
					CORE_MALFORMED, "a list shorter than it says");
	check_an2k_text("1.001:17\x1d"
					"1.3:1\x1f"
					"0\x1c",
					CORE_NOT_AN_IMAGE, "a list of nothing");
	check_an2k_text("1.001:21\x1d"
					"1.3:1\x1f"
					"0\x1e"
					"4\x1f"
					"1\x1c",
					CORE_MALFORMED, "a list longer than it says");

	sample_patch(&sample, 32, 4, 4);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
			   "a binary record too short for its length field and number");
	sample_patch(&sample, 32, 18, 4);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
			   "a binary fingerprint without data");
	sample_patch(&sample, 32, 0xffffffff, 4);
	tap_number(probe(sample.bytes, sample.length, &info), CORE_TRUNCATED,
			   "a binary record beyond the end");
	sample = made("an2k");
	sample.bytes[sample.length - 1] = 'x';
	tap_number(probe(sample.bytes, sample.length, &info), CORE_MALFORMED,
			   "a tagged record that does not end with FS");
	sample = made("an2k-binary");
	sample.bytes[27] = '7';
	tap_number(probe(sample.bytes, sample.length, &info), CORE_NOT_AN_IMAGE,
			   "a user-defined binary record is passed over");
}

static void
check_no_image(void)
{
	static const char *const texts[] = {
		"", "\xff", "\xff\xd8", "GIF89a", "BM", "RIFF", "%PDF-1.7", "FIR", "FACE", "sealed:", "\\x",
	};
	ImageInfo info;
	long failed = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		failed += probe((const uint8_t *) texts[i], strlen(texts[i]), &info) != CORE_NOT_AN_IMAGE ||
				  info.format != IMAGE_FORMAT_NONE;
	failed += probe(envelope_magic, ENVELOPE_MAGIC_SIZE, &info) != CORE_NOT_AN_IMAGE;
	tap_all(failed, sizeof(texts) / sizeof(texts[0]) + 1, -1, "what is no image is none");
}

/* Real records, where the tree has them. */
static void
check_file(const char *name, ImageFormat format, uint32_t width, uint32_t height)
{
	static uint8_t bytes[1 << 20];
	const char *folder = getenv("IMAGES");
	char path[4096];
	ImageInfo info;
	FILE *file;
	size_t length;
	long failed = 0;

	snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : "../images", name);
	file = fopen(path, "rb");
	if (file == NULL)
	{
		tap_ok(true, "%s # SKIP not there", name);
		return;
	}
	length = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	tap_ok(probe(bytes, length, &info) == CORE_OK && info.format == format && info.width == width &&
			   info.height == height,
		   "%s is %s, %u by %u pixels", name, image_format_name((int) format), width, height);
	for (size_t cut = 0; cut < length; cut += 1 + cut / 64)
		failed += image_probe(bytes, cut, &info) == CORE_OK;
	tap_all(failed, (long) length, -1, "and nothing of it cut short is");
}

int
main(void)
{
	for (int i = 0; i < sample_kind_count; i++)
	{
		check_whole(&sample_kinds[i]);
		check_cut(&sample_kinds[i]);
		check_changed(&sample_kinds[i]);
		check_dimensions(&sample_kinds[i]);
		check_padding(&sample_kinds[i]);
		check_record_length(&sample_kinds[i]);
	}
	check_faults();
	check_no_eyes();
	check_png_header();
	check_an2k_types();
	check_an2k_structure();
	check_no_image();
	check_file("face01.iso2005", IMAGE_FORMAT_FAC, 280, 320);
	check_file("iris01.iso2011", IMAGE_FORMAT_IIR, 76, 47);
	tap_ok(image_format_name(IMAGE_FORMAT_NONE) == NULL && image_format_name(-1) == NULL &&
			   image_format_name(IMAGE_FORMAT_LAST + 1) == NULL,
		   "codes of no format have no name");
	return tap_done();
}
