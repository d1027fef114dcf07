"""n-gram models by their definitions, in dictionaries of tuples: what the tests hold csrc/ngram to.

Written from the papers, with probabilities as recursive functions of a history; nothing is shared with the library.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


class Reference:
    """A model of some sentences (lists of words).

    Parameters
    ----------
    sentences
        Lists of words.
    order
        Words of the longest n-grams.
    smoothing
        As `dlkit.models.NGramModel` has it.
    k, cutoff
        Of add-k, of Katz.
    """

    def __init__(self, sentences, order, smoothing, k=1.0, cutoff=5):
        self.order, self.smoothing, self.k = order, smoothing, k
        self.raw = Counter()
        for words in sentences:
            padded = [BEGIN, *words, END]
            for end in range(len(padded)):
                for n in range(1, order + 1):
                    if end - n + 1 >= 0:
                        self.raw[tuple(padded[end - n + 1 : end + 1])] += 1
        self.words = sorted({g[0] for g in self.raw if len(g) == 1} | {UNKNOWN})
        self.predicted = [w for w in self.words if w != BEGIN]
        self.size = len(self.predicted)
        self.counts = self.adjusted() if smoothing.endswith("kneser-ney") else self.raw
        self.followers = defaultdict(list)
        for gram in self.counts:
            if gram != (BEGIN,):
                self.followers[gram[:-1]].append(gram[-1])
        self.discounts = {n: self.discounts_of(n, cutoff) for n in range(1, order + 1)}

    def adjusted(self):
        """Continuation counts, but for the longest n-grams and those that begin sentences."""
        before = defaultdict(set)
        for gram in self.raw:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        return {
            gram: count if len(gram) == self.order or gram[0] == BEGIN else len(before[gram])
            for gram, count in self.raw.items()
        }

    def discounts_of(self, n, cutoff):
        have = Counter(c for gram, c in self.counts.items() if len(gram) == n and gram != (BEGIN,))
        if self.smoothing == "kneser-ney":
            if not (have[1] and have[2]):
                return [0.5] * 3
            return [have[1] / (have[1] + 2 * have[2])] * 3
        if self.smoothing == "modified-kneser-ney":
            if have[1] and have[2] and have[3]:
                y = have[1] / (have[1] + 2 * have[2])
                found = [
                    1 - 2 * y * have[2] / have[1],
                    2 - 3 * y * have[3] / have[2],
                    3 - 4 * y * have[4] / have[3],
                ]
                if all(0 <= d <= j for j, d in enumerate(found, start=1)):
                    return found
            return [0.5, 1.0, 1.5]
        if self.smoothing == "katz":
            for most in range(cutoff, 1, -1):
                if not all(have[r] for r in range(1, most + 1)):
                    continue
                share = (most + 1) * have[most + 1] / have[1]
                if share == 1:
                    continue
                found = [
                    ((r + 1) * have[r + 1] / (r * have[r]) - share) / (1 - share) for r in range(1, most + 1)
                ]
                if all(0 < d < 1 for d in found):
                    return found
            return [(r - 0.5) / r for r in range(1, cutoff + 1)]
        return []

    def p(self, word, history):
        """The probability of a word after all the words of its sentence, <s> first."""
        return self.after(word, tuple(history)[len(history) - min(len(history), self.order - 1) :])

    def after(self, word, context):
        if self.smoothing == "mle":
            while context not in self.followers:
                context = context[1:]
            return self.raw.get((*context, word), 0) / self.total(context)
        if self.smoothing == "add-k":
            total = self.total(context)
            return (self.raw.get((*context, word), 0) + self.k) / (total + self.k * self.size)
        if self.smoothing == "katz":
            return self.katz(word, context)
        return self.kneser_ney(word, context)

    def total(self, context):
        return sum(self.counts[(*context, w)] for w in self.followers.get(context, ()))

    def kneser_ney(self, word, context):
        lower = self.kneser_ney(word, context[1:]) if context else 1 / self.size
        total = self.total(context)
        if not total:
            return lower
        d = [0, *self.discounts[len(context) + 1]]
        count = self.counts.get((*context, word), 0) if (*context, word) != (BEGIN,) else 0
        taken = sum(d[min(self.counts[(*context, w)], 3)] for w in self.followers[context])
        return (count - d[min(count, 3)]) / total + taken / total * lower

    def katz(self, word, context):
        seen = self.followers.get(context, [])
        if not seen:
            return self.katz(word, context[1:])
        d = self.discounts[len(context) + 1]
        counts = {w: self.raw[(*context, w)] for w in seen}
        kept = {w: c * (d[c - 1] if c <= len(d) else 1) for w, c in counts.items()}
        total = sum(counts.values())
        if len(seen) == self.size:
            return kept[word] / sum(kept.values())
        if math.isclose(sum(kept.values()), total, rel_tol=1e-12):
            total += 1
        if word in kept:
            return kept[word] / total
        left = 1 - sum(kept.values()) / total
        if not context:
            return left / (self.size - len(seen))
        return left * self.katz(word, context[1:]) / (1 - sum(self.katz(w, context[1:]) for w in seen))
