#!/usr/bin/python3
"""A second implementation of what the ledger promises to outsiders.

Written from RFC 9162 section 2.1, RFC 8032 section 5.1 and the C2SP texts
signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof and tlog-tiles, and
from nothing else: it shares no line and no idea with extension/core. It is
slow and plain on purpose. Standard library only.

  rfc9162.py self
      checks itself against published examples
  rfc9162.py ask SIZE [SEED]
      prints what to ask a ledger of SIZE entries, a question a line:
      "root N", "entry I", "inclusion I N", "consistency O N"
  rfc9162.py compare DIRECTORY VKEY QUESTIONS ANSWERS
      verifies an exported ledger, and that each line of ANSWERS is the
      question of the same line with the right hashes, or the bytes of the entry,
      behind it, in hexadecimal
  rfc9162.py proof FILE VKEY [WITNESS ...]
      verifies a .tlog-proof whose extra data is the entry, and cosignatures
  rfc9162.py checkpoint FILE VKEY [WITNESS ...]
      verifies a checkpoint, and prints its size and root
  rfc9162.py witness NAME SECRET
      prints the verifier key of a witness; its private key is a hash of SECRET
  rfc9162.py cosign FILE VKEY NAME SECRET TIME
      verifies a checkpoint, and prints it with the cosignature of that witness

Exit status: 0 verified, 1 not, 2 usage.
"""

import base64
import hashlib
import os
import random
import sys


class Wrong(Exception):
	"""Something that does not verify, or is not what it should be."""


def require(condition, complaint):
	if not condition:
		raise Wrong(complaint)


# ------------------------------------------------- RFC 9162 section 2.1: trees


def leaf_hash(entry):
	return hashlib.sha256(b'\x00' + entry).digest()


def node_hash(left, right):
	return hashlib.sha256(b'\x01' + left + right).digest()


def largest_power_below(n):
	"""The largest power of two smaller than n; n > 1."""
	k = 1
	while k * 2 < n:
		k *= 2
	return k


class Tree:
	"""Entries, their leaf hashes, and the recursions of the RFC over them.

	A subtree's hash never changes, so each is computed once and remembered by
	its leaves; but only those of 2^k leaves, as the others are never met again.
	"""

	def __init__(self, entries):
		self.entries = entries
		self.leaves = [leaf_hash(entry) for entry in entries]
		self.known = {}

	def mth(self, begin, end):
		"""2.1.1: MTH(D[begin:end])."""
		n = end - begin
		if n == 0:
			return hashlib.sha256(b'').digest()
		if n == 1:
			return self.leaves[begin]
		if (begin, end) in self.known:
			return self.known[begin, end]
		k = largest_power_below(n)
		found = node_hash(self.mth(begin, begin + k), self.mth(begin + k, end))
		if n == 2 * k:
			self.known[begin, end] = found
		return found

	def root(self, size):
		return self.mth(0, size)

	def inclusion(self, m, size):
		"""2.1.3.1: PATH(m, D_n)."""
		return self._path(m, 0, size)

	def _path(self, m, begin, end):
		n = end - begin
		if n == 1:
			return []
		k = largest_power_below(n)
		if m < k:
			return self._path(m, begin, begin + k) + [self.mth(begin + k, end)]
		return self._path(m - k, begin + k, end) + [self.mth(begin, begin + k)]

	def consistency(self, m, size):
		"""2.1.4.1: PROOF(m, D_n); of nothing, and of the tree itself, there is none."""
		if m in (0, size):
			return []
		return self._subproof(m, 0, size, True)

	def _subproof(self, m, begin, end, known):
		n = end - begin
		if m == n:
			return [] if known else [self.mth(begin, end)]
		k = largest_power_below(n)
		if m <= k:
			return self._subproof(m, begin, begin + k, known) + [self.mth(begin + k, end)]
		return self._subproof(m - k, begin + k, end, False) + [self.mth(begin, begin + k)]


def verify_inclusion(leaf, leaf_index, tree_size, path, root):
	"""2.1.3.2, step by step."""
	if leaf_index >= tree_size:
		return False
	fn = leaf_index
	sn = tree_size - 1
	r = leaf
	for p in path:
		if sn == 0:
			return False
		if fn & 1 or fn == sn:
			r = node_hash(p, r)
			while not (fn & 1 or fn == 0):
				fn >>= 1
				sn >>= 1
		else:
			r = node_hash(r, p)
		fn >>= 1
		sn >>= 1
	return sn == 0 and r == root


def verify_consistency(first, second, path, first_hash, second_hash):
	"""2.1.4.2, step by step; before them the cases that it leaves aside."""
	if first > second:
		return False
	if first == second:
		return path == [] and first_hash == second_hash
	if first == 0:
		return path == [] and first_hash == hashlib.sha256(b'').digest()
	if not path:
		return False
	if bin(first).count('1') == 1:
		path = [first_hash] + path
	fn = first - 1
	sn = second - 1
	while fn & 1:
		fn >>= 1
		sn >>= 1
	fr = sr = path[0]
	for c in path[1:]:
		if sn == 0:
			return False
		if fn & 1 or fn == sn:
			fr = node_hash(c, fr)
			sr = node_hash(c, sr)
			while not (fn & 1 or fn == 0):
				fn >>= 1
				sn >>= 1
		else:
			sr = node_hash(sr, c)
		fn >>= 1
		sn >>= 1
	return fr == first_hash and sr == second_hash and sn == 0


# ----------------------------------------------- RFC 8032 section 5.1: Ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def point_from(encoded):
	"""5.1.3: x, y as extended coordinates; None for what is no point."""
	y = int.from_bytes(encoded, 'little')
	sign = y >> 255
	y &= (1 << 255) - 1
	if y >= P:
		return None
	u = (y * y - 1) % P
	v = (D * y * y + 1) % P
	x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
	if v * x * x % P == -u % P:
		x = x * SQRT_OF_MINUS_ONE % P
	if v * x * x % P != u:
		return None
	if x == 0 and sign:
		return None
	if x & 1 != sign:
		x = P - x
	return (x, y, 1, x * y % P)


def point_add(p, q):
	"""5.1.4."""
	a = (p[1] - p[0]) * (q[1] - q[0]) % P
	b = (p[1] + p[0]) * (q[1] + q[0]) % P
	c = 2 * p[3] * q[3] * D % P
	d = 2 * p[2] * q[2] % P
	e, f, g, h = b - a, d - c, d + c, b + a
	return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_times(factor, p):
	total = (0, 1, 1, 0)
	while factor:
		if factor & 1:
			total = point_add(total, p)
		p = point_add(p, p)
		factor >>= 1
	return total


def point_equal(p, q):
	return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


BASE = point_from((4 * pow(5, P - 2, P) % P).to_bytes(32, 'little'))


def ed25519_verify(public_key, message, signature):
	"""5.1.7."""
	if len(public_key) != 32 or len(signature) != 64:
		return False
	a = point_from(public_key)
	r = point_from(signature[:32])
	s = int.from_bytes(signature[32:], 'little')
	if a is None or r is None or s >= L:
		return False
	k = hashlib.sha512(signature[:32] + public_key + message).digest()
	k = int.from_bytes(k, 'little') % L
	return point_equal(point_times(s, BASE), point_add(r, point_times(k, a)))


def point_encode(p):
	"""5.1.2."""
	inverse = pow(p[2], P - 2, P)
	x = p[0] * inverse % P
	y = p[1] * inverse % P
	return (y | (x & 1) << 255).to_bytes(32, 'little')


def secret_halves(secret):
	"""5.1.5: the scalar and the prefix of a private key of 32 bytes."""
	h = hashlib.sha512(secret).digest()
	scalar = int.from_bytes(h[:32], 'little')
	scalar &= (1 << 254) - 8
	scalar |= 1 << 254
	return scalar, h[32:]


def ed25519_public(secret):
	return point_encode(point_times(secret_halves(secret)[0], BASE))


def ed25519_sign(secret, message):
	"""5.1.6."""
	scalar, prefix = secret_halves(secret)
	public = ed25519_public(secret)
	r = int.from_bytes(hashlib.sha512(prefix + message).digest(), 'little') % L
	point = point_encode(point_times(r, BASE))
	k = int.from_bytes(hashlib.sha512(point + public + message).digest(), 'little') % L
	return point + ((r + k * scalar) % L).to_bytes(32, 'little')


# --------------------------------------------- C2SP signed-note, tlog-checkpoint

ED25519 = 1
COSIGNATURE = 4


def from_base64(text):
	"""RFC 4648 section 4, and only the one encoding of each value."""
	try:
		raw = base64.b64decode(text, validate=True)
	except ValueError as error:
		raise Wrong(f'not base64: {text!r}') from error
	require(base64.b64encode(raw).decode() == text, f'not the encoding of base64: {text!r}')
	return raw


def is_key_name(name):
	return name != '' and '+' not in name and not any(c.isspace() for c in name)


class Key:
	"""A verifier key: name+id+base64(type || key)."""

	def __init__(self, vkey):
		parts = vkey.rstrip('\n').split('+', 2)
		require(len(parts) == 3, 'a verifier key has three parts')
		self.name = parts[0]
		material = from_base64(parts[2])
		require(is_key_name(self.name), 'the name of a key')
		require(len(material) == 33 and material[0] in (ED25519, COSIGNATURE), 'an Ed25519 key')
		self.type = material[0]
		self.public = material[1:]
		self.id = hashlib.sha256(self.name.encode() + b'\n' + material).digest()[:4]
		require(parts[1] == self.id.hex(), 'the id of a key is its hash')


class Note:
	"""A text and its signatures: triples of name, key id and signature."""

	def __init__(self, raw):
		try:
			whole = raw.decode('utf-8')
		except UnicodeDecodeError as error:
			raise Wrong('a note is UTF-8') from error
		require(all(c == '\n' or ord(c) >= 0x20 for c in whole), 'control characters in a note')
		text, found, lines = whole.rpartition('\n\n')
		require(found, 'a note has an empty line before its signatures')
		self.text = (text + '\n').encode()
		require(lines.endswith('\n'), 'a note ends in a newline')
		self.signatures = [self._signature(line) for line in lines[:-1].split('\n')]

	@staticmethod
	def _signature(line):
		parts = line.split(' ')
		require(len(parts) == 3 and parts[0] == '\u2014', f'no signature: {line!r}')
		require(is_key_name(parts[1]), 'the name in a signature')
		raw = from_base64(parts[2])
		require(len(raw) > 4, 'a signature is longer than a key id')
		return parts[1], raw[:4], raw[4:]

	def verify(self, key):
		"""Every signature that names the key must be its; there must be one.

		Of a cosignature, returns the time.
		"""
		mine = [s for name, key_id, s in self.signatures if (name, key_id) == (key.name, key.id)]
		require(mine, f'not signed by {key.name}')
		time = None
		for signature in mine:
			message = self.text
			if key.type == COSIGNATURE:
				require(len(signature) == 72, 'a cosignature has 72 bytes')
				time = int.from_bytes(signature[:8], 'big')
				require(time < 2**63, 'a time before 2^63')
				signature = signature[8:]
				message = f'cosignature/v1\ntime {time}\n'.encode() + message
			require(ed25519_verify(key.public, message, signature), f'a signature of {key.name}')
		return time


class Witness:
	"""Who cosigns; the private key is made of a word."""

	def __init__(self, name, word):
		self.secret = hashlib.sha256(word.encode()).digest()
		material = bytes([COSIGNATURE]) + ed25519_public(self.secret)
		key_id = hashlib.sha256(name.encode() + b'\n' + material).digest()[:4]
		self.vkey = f'{name}+{key_id.hex()}+{base64.b64encode(material).decode()}'

	def cosign(self, note, time):
		"""C2SP tlog-cosignature: the signature line over a note's text."""
		key = Key(self.vkey)
		message = f'cosignature/v1\ntime {time}\n'.encode() + note.text
		signature = key.id + time.to_bytes(8, 'big') + ed25519_sign(self.secret, message)
		return f'\u2014 {key.name} {base64.b64encode(signature).decode()}\n'


def decimal(text):
	require(text.isascii() and text.isdigit(), f'not a number: {text!r}')
	require(text == '0' or text[0] != '0', f'leading zeroes: {text!r}')
	return int(text)


class Checkpoint:
	"""A note that was verified, and what its text says."""

	def __init__(self, raw, key):
		note = Note(raw)
		note.verify(key)
		lines = note.text.decode().split('\n')
		require(len(lines) >= 4 and lines.pop() == '' and all(lines), 'the lines of a checkpoint')
		self.note = note
		self.origin = lines[0]
		self.size = decimal(lines[1])
		self.root = from_base64(lines[2])
		require(len(self.root) == 32, 'the root has 32 bytes')
		require(self.origin == key.name, 'the origin is the name of the key')


# ------------------------------------------------------------- C2SP tlog-proof


def read_proof(raw):
	"""Returns extra data or None, the index, the path and the checkpoint."""
	head, found, checkpoint = raw.partition(b'\n\n')
	require(found and checkpoint, 'a proof has an empty line before its checkpoint')
	try:
		lines = head.decode('ascii').split('\n')
	except UnicodeDecodeError as error:
		raise Wrong('a proof is ASCII') from error
	require(lines.pop(0) == 'c2sp.org/tlog-proof@v1', 'the first line of a proof')
	extra = None
	if lines and lines[0].startswith('extra '):
		extra = from_base64(lines.pop(0)[len('extra '):])
	require(lines and lines[0].startswith('index '), 'the index of a proof')
	index = decimal(lines.pop(0)[len('index '):])
	path = [from_base64(line) for line in lines]
	require(all(len(p) == 32 for p in path), 'hashes of 32 bytes')
	return extra, index, path, checkpoint


def verify_proof(raw, key):
	"""Verifies a proof whose extra data is the entry; returns it, its index and checkpoint."""
	extra, index, path, note = read_proof(raw)
	require(extra is not None, 'the entry is in the proof')
	checkpoint = Checkpoint(note, key)
	require(
		verify_inclusion(leaf_hash(extra), index, checkpoint.size, path, checkpoint.root),
		f'the proof of entry {index}')
	return extra, index, checkpoint


# ------------------------------------------------------------- C2SP tlog-tiles

WIDTH = 256


def tile_path(level, index, width):
	groups = [f'{index % 1000:03d}']
	while index >= 1000:
		index //= 1000
		groups.insert(0, f'x{index % 1000:03d}')
	suffix = '' if width == WIDTH else f'.p/{width}'
	return f'tile/{level}/' + '/'.join(groups) + suffix


class Directory:
	def __init__(self, path):
		self.path = path
		self.tiles = 0

	def read(self, name):
		try:
			with open(os.path.join(self.path, name), 'rb') as file:
				return file.read()
		except OSError as error:
			raise Wrong(f'{name} cannot be read: {error.strerror}') from error

	def resource(self, level, index, width, unit):
		"""A tile or bundle, of unit bytes each; a full one may stand in for a partial one."""
		name = tile_path(level, index, width)
		if width < WIDTH and not os.path.exists(os.path.join(self.path, name)):
			return self.read(tile_path(level, index, WIDTH))[: width * unit if unit else None]
		return self.read(name)

	def entries(self, size):
		"""All entries, bundle by bundle."""
		for index in range((size + WIDTH - 1) // WIDTH):
			width = min(WIDTH, size - index * WIDTH)
			raw = self.resource('entries', index, width, 0)
			at = 0
			for _ in range(width):
				require(at + 2 <= len(raw), f'bundle {index} ends too soon')
				length = int.from_bytes(raw[at:at + 2], 'big')
				at += 2 + length
				require(at <= len(raw), f'bundle {index} ends in an entry')
				yield raw[at - length:at]

	def check_tiles(self, tree, size):
		"""Every tile that a tree of this size has, partial ones included."""
		level = 0
		span = 1
		while size // span > 0:
			hashes = size // span
			for index in range((hashes + WIDTH - 1) // WIDTH):
				width = min(WIDTH, hashes - index * WIDTH)
				expected = b''.join(
					tree.mth((index * WIDTH + i) * span, (index * WIDTH + i + 1) * span)
					for i in range(width))
				found = self.resource(level, index, width, 32)
				require(found == expected, f'tile {tile_path(level, index, width)}')
				self.tiles += 1
			level += 1
			span *= WIDTH


# ------------------------------------------------------------------- questions

SMALL = 1025
LARGE_SIZES = 40
SAMPLES = 20


def borders(size):
	"""Powers of two and their neighbours, up to size."""
	near = {p + d for p in (2**e for e in range(size.bit_length() + 1)) for d in (-1, 0, 1)}
	return {n for n in near if 0 <= n <= size}


def questions(size, seed):
	"""Yields what to ask about a ledger of size entries; the same for the same seed."""
	chance = random.Random(seed)
	sizes = list(range(min(size, SMALL) + 1))
	if size > SMALL:
		more = {chance.randint(SMALL + 1, size) for _ in range(LARGE_SIZES)}
		sizes += sorted(more | {n for n in borders(size) if n > SMALL} | {size})
	for n in sizes:
		yield ('root', n)
		indexes = {i for i in (0, n - 1) if n > 0}
		indexes |= {chance.randrange(n) for _ in range(8) if n > 0}
		for i in sorted(indexes):
			yield ('inclusion', i, n)
		olds = borders(n) | {0, n} | {chance.randint(0, n) for _ in range(SAMPLES)}
		for old in sorted(olds):
			yield ('consistency', old, n)
	for i in sorted({chance.randrange(size) for _ in range(200) if size > 0}):
		yield ('entry', i)


def answer(tree, question):
	kind, *numbers = question
	if kind == 'root':
		return [tree.root(*numbers)]
	if kind == 'entry':
		return [tree.entries[numbers[0]]]
	if kind == 'inclusion':
		return tree.inclusion(*numbers)
	if kind == 'consistency':
		return tree.consistency(*numbers)
	raise Wrong(f'no such question: {kind}')


def verifies(tree, question, hashes):
	"""Whether a proof also convinces one who knows only the roots."""
	kind, *numbers = question
	if kind == 'inclusion':
		index, size = numbers
		return verify_inclusion(tree.leaves[index], index, size, hashes, tree.root(size))
	if kind == 'consistency':
		old, size = numbers
		return verify_consistency(old, size, hashes, tree.root(old), tree.root(size))
	return True


# ------------------------------------------------------------------- commands


def slurp(path):
	with open(path, 'rb') as file:
		return file.read()


def command_ask(size, seed=None):
	seed = seed if seed is not None else str(random.SystemRandom().randrange(10**9))
	print(f'the seed is {seed}', file=sys.stderr)
	for question in questions(int(size), int(seed)):
		print(*question)


def command_compare(directory, vkey, asked, answered):
	exported = Directory(directory)
	checkpoint = Checkpoint(exported.read('checkpoint'), Key(vkey))
	tree = Tree(list(exported.entries(checkpoint.size)))
	require(tree.root(checkpoint.size) == checkpoint.root, 'the root of the checkpoint')
	exported.check_tiles(tree, checkpoint.size)
	counts = {'size': checkpoint.size, 'tiles': exported.tiles}
	wanted = slurp(asked).decode().splitlines()
	given = slurp(answered).decode().splitlines()
	require(len(wanted) == len(given), f'{len(wanted)} questions, {len(given)} answers')
	for line, reply in zip(wanted, given):
		kind, *numbers = line.split()
		question = (kind, *map(int, numbers))
		require((reply + ' ').startswith(line + ' '), f'"{line}" was answered with "{reply}"')
		hashes = [bytes.fromhex(text) for text in reply[len(line):].split()]
		require(hashes == answer(tree, question), f'the answer to "{line}" differs')
		require(verifies(tree, question, hashes), f'the answer to "{line}" does not verify')
		counts[kind] = counts.get(kind, 0) + 1
	print('agreed:', ', '.join(f'{kind} {count}' for kind, count in counts.items()))


def cosigned(checkpoint, witnesses):
	for vkey in witnesses:
		time = checkpoint.note.verify(Key(vkey))
		print(f'cosigned by {Key(vkey).name} at {time}')


def command_proof(path, vkey, *witnesses):
	entry, index, checkpoint = verify_proof(slurp(path), Key(vkey))
	cosigned(checkpoint, witnesses)
	print(f'entry {index} of {checkpoint.size}: {entry.hex()}')


def command_checkpoint(path, vkey, *witnesses):
	checkpoint = Checkpoint(slurp(path), Key(vkey))
	cosigned(checkpoint, witnesses)
	print(f'size {checkpoint.size}: {checkpoint.root.hex()}')


def command_witness(name, word):
	print(Witness(name, word).vkey)


def command_cosign(path, vkey, name, word, time):
	raw = slurp(path)
	line = Witness(name, word).cosign(Checkpoint(raw, Key(vkey)).note, int(time))
	sys.stdout.buffer.write(raw + line.encode())


# -------------------------------------------------------------- self-examination

# Inputs and roots of the test tree of Certificate Transparency.
PUBLISHED_TREE = (
	('', '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'),
	('00', 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'),
	('10', 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'),
	('2021', 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'),
	('3031', '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4'),
	('40414243', '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'),
	('5051525354555657', 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'),
	('606162636465666768696a6b6c6d6e6f',
		'5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'),
)

# Private key, public key, message and signature: RFC 8032 section 7.1, tests 1 to 3.
PUBLISHED_SIGNATURES = (
	('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
		'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', '',
		'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155'
		'5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'),
	('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
		'3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c', '72',
		'92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da'
		'085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00'),
	('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
		'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025', 'af82',
		'6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac'
		'18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a'),
)

# The example of the documentation of golang.org/x/mod/sumdb/note.
PUBLISHED_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
PUBLISHED_NOTE = (
	'If you think cryptography is the answer to your problem,\n'
	"then you don't know what your problem is.\n\n"
	'\u2014 PeterNeumann '
	'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg'
	'KvqfqdngotpRZb6KE6RyyBwJnAM=\n')


def rejects(function, *arguments):
	try:
		function(*arguments)
	except Wrong:
		return True
	return False


def check_own_trees():
	tree = Tree([bytes.fromhex(data) for data, _ in PUBLISHED_TREE])
	for i, (_, root) in enumerate(PUBLISHED_TREE):
		require(tree.root(i + 1).hex() == root, f'published root {i + 1}')
	tree = Tree([bytes([i]) for i in range(70)])
	for n in range(71):
		root = tree.root(n)
		for m in range(n):
			path = tree.inclusion(m, n)
			leaf = tree.leaves[m]
			require(verify_inclusion(leaf, m, n, path, root), 'a path')
			require(not verify_inclusion(leaf, m, n, path + [root], root), 'a long path')
			require(not verify_inclusion(leaf_hash(b'x'), m, n, path, root), 'another leaf')
		for m in range(n + 1):
			proof = tree.consistency(m, n)
			old = tree.root(m)
			require(verify_consistency(m, n, proof, old, root), 'a proof')
			require(not verify_consistency(m, n, proof + [root], old, root), 'a long proof')
			require(not verify_consistency(m, n, proof, leaf_hash(b'x'), root), 'another root')


def check_own_signatures():
	for example in PUBLISHED_SIGNATURES:
		secret, public, message, signature = map(bytes.fromhex, example)
		require(ed25519_public(secret) == public, 'a public key of RFC 8032')
		require(ed25519_sign(secret, message) == signature, 'the signature of RFC 8032')
		require(ed25519_verify(public, message, signature), 'a signature of RFC 8032')
		require(not ed25519_verify(public, message + b'x', signature), 'another message')
		s = int.from_bytes(signature[32:], 'little') + L
		longer = signature[:32] + s.to_bytes(32, 'little')
		require(not ed25519_verify(public, message, longer), 'the same signature, S too large')
	key = Key(PUBLISHED_KEY)
	raw = PUBLISHED_NOTE.encode()
	Note(raw).verify(key)
	require(rejects(Note(raw.replace(b'think', b'thing')).verify, key), 'a changed text')
	require(rejects(Note, raw.replace(b'\n\n', b'\n')), 'a note without its empty line')
	require(rejects(Note, raw[:-1]), 'a note that is cut short')
	require(rejects(Key, PUBLISHED_KEY.replace('c74f', 'c74e')), 'a key with another id')


def check_own_paths():
	require(tile_path(0, 1234067, WIDTH) == 'tile/0/x001/x234/067', 'a path')
	require(tile_path('entries', 0, 5) == 'tile/entries/000.p/5', 'a partial path')


def command_self():
	check_own_trees()
	check_own_signatures()
	check_own_paths()
	print('agreed with what is published')


COMMANDS = {
	'self': command_self,
	'ask': command_ask,
	'compare': command_compare,
	'proof': command_proof,
	'checkpoint': command_checkpoint,
	'witness': command_witness,
	'cosign': command_cosign,
}
ARGUMENTS = {
	'self': (0, 0),
	'ask': (1, 2),
	'compare': (4, 4),
	'proof': (2, 99),
	'checkpoint': (2, 99),
	'witness': (2, 2),
	'cosign': (5, 5),
}


def main(arguments):
	name = arguments[0] if arguments else ''
	least, most = ARGUMENTS.get(name, (1, 0))
	if not least <= len(arguments) - 1 <= most:
		print(__doc__, file=sys.stderr)
		return 2
	try:
		COMMANDS[name](*arguments[1:])
	except (Wrong, OSError, ValueError) as complaint:
		print(f'{name}: wrong: {complaint}', file=sys.stderr)
		return 1
	return 0


if __name__ == '__main__':
	sys.exit(main(sys.argv[1:]))
