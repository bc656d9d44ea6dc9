"""Byte-level byte-pair encoding, trained on the quickstart texts and written as a `tokenizer.json`.

Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units", over bytes as in GPT-2.
"""

import collections
import re

SPECIAL = ["<|endoftext|>", "<|pad|>"]
# What the `ByteLevel` pre-tokenizer with `use_regex` splits on.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+(?!\S)|\s+")


def byte_characters():
    """GPT-2's printable stand-in for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {byte: chr(byte) for byte in printable}
    for i, byte in enumerate(b for b in range(256) if b not in stand_ins):
        stand_ins[byte] = chr(256 + i)
    return stand_ins


def train(texts, vocab_size):
    """Merges the most frequent pair until the vocabulary is full; ties go to the pair that sorts first."""
    stand_ins = byte_characters()
    words = collections.Counter(piece for text in texts for piece in PIECES.findall(text))
    words = {tuple(stand_ins[b] for b in word.encode()): count for word, count in words.items()}
    vocab, merges = SPECIAL + [stand_ins[b] for b in range(256)], []
    while len(vocab) < vocab_size:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        vocab.append("".join(best))
        words = {merge(word, best): count for word, count in words.items()}
    return vocab, merges


def merge(word, pair):
    """`word` with every occurrence of `pair` joined."""
    out, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def tokenizer_json(vocab, merges):
    """The file that Hugging Face tokenizers reads."""
    special = [dict(id=i, content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i, token in enumerate(SPECIAL)]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=False, byte_fallback=False, ignore_merges=False,
                 vocab={token: i for i, token in enumerate(vocab)}, merges=[list(pair) for pair in merges])
    return dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=None,
                pre_tokenizer=byte_level, post_processor=None, decoder=byte_level, model=model)
