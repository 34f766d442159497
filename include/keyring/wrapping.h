/*
 * wrapping.h - the key in shared memory that keys are kept encrypted under between statements, and
 * who holds decrypted ones.
 *
 * For extension/keyring alone. The wrapping key and the generation change together, under one lock;
 * a copy of the key is for one use, and its owner wipes it. A process says that it holds keys
 * before it reads any or asks for the wrapping key, and that it does not after it has wiped them:
 * so whoever has replaced the wrapping key sees everybody who may still have something from before.
 */
#ifndef BIOMETRIC_KEYRING_WRAPPING_H
#define BIOMETRIC_KEYRING_WRAPPING_H

#include "postgres.h"

#include "core/xaes.h"
#include "keyring/place.h"

/* Locks of the keyring: of the wrapping key, and of the pins. */
#define KEYRING_TRANCHE "biometric_audit_keyring"

/* Something encrypted: what follows it in memory is the ciphertext. */
typedef struct WrapHeader
{
	uint8 nonce[XAES_NONCE_SIZE];
	uint8 tag[XAES_TAG_SIZE];
} WrapHeader;

/* A copy of the wrapping key. A secret. */
typedef struct WrappingKey
{
	uint64 generation;
	uint8 key[XAES_KEY_SIZE];
	uint8 cmac_k1[16];
} WrappingKey;

/* wrapping_copy copies the wrapping key of the present generation; wrapping_wipe wipes a copy. */
extern void wrapping_copy(WrappingKey *wrapping);
extern void wrapping_wipe(WrappingKey *wrapping);

/*
 * wrapping_seal and wrapping_open encrypt and decrypt size bytes; label is authenticated with
 * them. Outputs are zeroed on failure, which for wrapping_open is also another wrapping key.
 */
extern bool wrapping_seal(const WrappingKey *wrapping, uint32 label, const void *secret, Size size,
						  WrapHeader *header, uint8 *wrapped);
extern bool wrapping_open(const WrappingKey *wrapping, uint32 label, const WrapHeader *header,
						  const uint8 *wrapped, Size size, void *secret);

/*
 * wrapping_replace makes a new wrapping key, and with it a new generation. removal: a key may have
 * gone, which makes keyring_wait_holders wait for who has keys from before. mark: what the file
 * looks like now that was changed for it.
 */
extern void wrapping_replace(bool removal, const FileMark *mark);

/*
 * wrapping_follow replaces the wrapping key because of what a file looks like now, unless
 * that was done for the very same look before: so of all who notice a change only one does it.
 */
extern void wrapping_follow(const FileMark *mark);

/*
 * holder_enter says that this process may hold decrypted keys of a generation, holder_leave that it
 * holds none. Needs a MyProc. Cheap.
 */
extern void holder_enter(uint64 generation);
extern void holder_leave(void);

#endif
