/*
 * picture_hash.h - a perceptual hash: 256 bits that stay nearly the same when a
 * picture is encoded again, scaled, or cropped a little at its edges.
 *
 * The inner part of the picture (without PICTURE_HASH_MARGIN at each edge) is
 * brought to 64 x 64 luminances, each of these to by how much it stands out from
 * those around it; the 16 x 16 lowest frequencies of the discrete cosine transform,
 * without the constant ones, are each compared with their median. Two hashes are
 * compared by the number of bits that differ. Who has only a cropped picture does
 * not know where its inner part was: picture_hash_guesses tries where it may have
 * been.
 *
 * A hash says coarsely what a picture looks like. So it leaves this process only
 * encrypted (in the envelope, with the image's own stream) or blinded: its bits
 * in another order, and some turned round, both by a secret of the key. The
 * distance of two hashes that were blinded alike is that of the hashes.
 */
#ifndef BIOMETRIC_CORE_PICTURE_HASH_H
#define BIOMETRIC_CORE_PICTURE_HASH_H

#include "core/seal.h"
#include "core/status.h"

#define PICTURE_HASH_SIZE 32 /* bytes */
#define PICTURE_HASH_BITS 256

/* What is not looked at on each edge, in 1/1000 of the side: as much may be cut off. */
#define PICTURE_HASH_MARGIN 100

/* A picture with a shorter or a longer side, in pixels, has no hash. */
#define PICTURE_HASH_LEAST_SIDE 32
#define PICTURE_HASH_MOST_SIDE 1024

/*
 * The most guesses that picture_hash_guesses makes: the picture as it is, mirrored and
 * turned by quarters (8), and 4 depths of cut, each at every set of edges (60).
 */
#define PICTURE_HASH_GUESSES 68

/*
 * The largest distance at which two pictures pass for one, were one hash compared
 * with every guess of the other. doc/picture-hash.md has the figures behind it.
 */
#define PICTURE_HASH_NEAR 48

/* A picture's luminance: a byte a pixel, rows from the top. */
typedef struct PictureGrey
{
	uint32_t width;	 /* pixels, at least 1 */
	uint32_t height; /* pixels, at least 1 */
	const uint8_t *pixels;
} PictureGrey;

/*
 * picture_hash computes the hash of a whole picture. False, and zeroes, when it
 * shows too little for a hash to mean anything (a plain surface), or is too small or
 * too large.
 */
extern bool picture_hash(const PictureGrey *picture, uint8_t hash[PICTURE_HASH_SIZE]);

/*
 * picture_hash_guesses computes what the hash of the original may have been,
 * were this picture cut from it at one or more of its edges, mirrored, or turned; the
 * first guess is that it is whole and as it was. Returns how many, 0 where picture_hash would return false.
 */
extern int picture_hash_guesses(const PictureGrey *picture,
								uint8_t hashes[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE]);

/* picture_hash_distance returns in how many bits two hashes differ: 0 to PICTURE_HASH_BITS. */
extern int picture_hash_distance(const uint8_t *one, const uint8_t *other);

/* picture_hash_blind blinds a hash by a key's secret. */
extern void picture_hash_blind(const SealKey *key, const uint8_t hash[PICTURE_HASH_SIZE],
							   uint8_t blinded[PICTURE_HASH_SIZE]);

#endif
