"""What can be done to an edge, of whichever kind: each injects, yields how long it wants to last, and heals."""
import time


def held(world, edge, ways, seconds, cut):
    """Bytes are taken and go nowhere; when it is over they come through, or the connection is gone."""
    world.proxies.do("set", edge=edge, **{way: True for way in ways})
    yield seconds
    if cut:
        world.proxies.do("cut", edge=edge)
    world.proxies.do("heal", edge=edge)


def refused(world, edge, seconds):
    world.proxies.do("set", edge=edge, refuse=True)
    world.proxies.do("cut", edge=edge)
    yield seconds
    world.proxies.do("heal", edge=edge)


def reset(world, edge, chance, most, shortest, seconds):
    """All its connections, up to `most` times."""
    for _ in range(chance.randint(1, most)):
        world.proxies.do("cut", edge=edge)
        time.sleep(chance.uniform(shortest, 0.3))
    yield seconds


def slow(world, edge, delay, seconds):
    """`delay` in each direction."""
    world.proxies.do("set", edge=edge, delay_up=delay, delay_down=delay)
    yield seconds
    world.proxies.do("heal", edge=edge)


def flapping(world, edge, period, seconds):
    world.proxies.do("flap", edge=edge, seconds=period)
    yield seconds
    world.proxies.do("heal", edge=edge)
