"""Which faults, when, in which order: from the seed alone, so that a plan can be repeated."""
import random

SEGMENT_FAULTS = 10
# Every so many segments have only outages that no attempt may notice.
AMNESTY_EVERY = 4
TOGETHER = 0.25


class Deck:
    """Deals all kinds before it deals one again, so that each comes about as often as any other."""

    def __init__(self, kinds, chance):
        self._kinds, self._chance, self._left = sorted(kinds), chance, []

    def deal(self, other_than=None):
        if not self._left:
            self._left = self._chance.sample(self._kinds, len(self._kinds))
        for index, name in enumerate(self._left):
            if other_than is None or not other_than(name):
                return self._left.pop(index)
        return None


def make(seed, faults, kinds):
    """[segment]; a segment is {amnesty, steps}, a step {kinds, chance, pause}; kinds: name -> faults.Kind."""
    chance = random.Random(f"plan:{seed}")
    deck = Deck(kinds, chance)
    sparing = [name for name, kind in kinds.items() if kind.spares_leases]
    sparing_deck = Deck(sparing, chance) if sparing else None
    segments, count = [], 0
    while count < faults:
        amnesty = len(segments) % AMNESTY_EVERY == AMNESTY_EVERY - 1 and sparing_deck is not None
        steps, wanted = [], min(SEGMENT_FAULTS, faults - count)
        while wanted > 0:
            names = [(sparing_deck if amnesty else deck).deal()]
            if not amnesty and wanted > 1 and chance.random() < TOGETHER:
                second = deck.deal(lambda name: kinds[name].group == kinds[names[0]].group)
                names += [second] if second else []
            steps.append({"kinds": names, "chance": chance.random(),
                          "pause": round(chance.uniform(1.5, 2.5) if amnesty else chance.uniform(0.2, 1.2), 2)})
            wanted -= len(names)
            count += len(names)
        segments.append({"amnesty": amnesty, "steps": steps})
    return segments


def words(segments):
    """One line for each segment."""
    return [f"{number}{' (amnesty)' if segment['amnesty'] else ''}: "
            + ", ".join("+".join(step["kinds"]) for step in segment["steps"])
            for number, segment in enumerate(segments, start=1)]
