"""A standby takes the place of a primary that is lost."""
import shutil
import signal

from faults import kind
import stack as stacks
import support
from support import wait_until

FOLLOW_SECONDS = 30


class Standby:
    """A second server that follows the first."""

    def __init__(self, stack):
        self.stack = stack
        self.port = stack.pg_ports[1]
        self.data = stack.pg / f"data-{self.port}"

    def run(self, program, *args):
        as_user = {"user": self.stack.pg_user} if self.stack.pg_user else {}
        stacks.run([support.postgres_program(program), *args], **as_user)

    def follow(self):
        """When it is there, no commit of the primary is acknowledged that it does not have."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.run("pg_basebackup", "-h", self.stack.pg, "-p", self.stack.pg_port, "-U", stacks.ADMIN, "-D", self.data,
                 "-X", "stream", "-c", "fast", "--no-sync", "--write-recovery-conf")
        self.stack.add_postgres("standby", self.data, self.port)
        self.ask("alter system set synchronous_standby_names = '*'")
        self.ask("select pg_reload_conf()")
        wait_until("the standby follows",
                   lambda: self.ask("select count(*) from pg_stat_replication where sync_state = 'sync'") == "1",
                   FOLLOW_SECONDS)
        # What was acknowledged before is there as well, when this is.
        self.ask("create table if not exists followed (); drop table followed")

    def ask(self, text):
        return self.stack.sql(text)

    def lose_primary(self):
        """Nothing comes back from it. The daemons reach the standby, which takes no writes yet."""
        self.stack.supervisor.want("postgres", False)
        self.stack.part("postgres").send(signal.SIGKILL)
        self.stack.proxies.do("upstreams", edge="pg:*", ports=[self.port])
        self.stack.proxies.do("cut", edge="pg:*")

    def take_over(self):
        wait_until("the standby answers", lambda: self.in_recovery() in ("t", "f"), FOLLOW_SECONDS)
        self.stack.sql("select pg_promote()", port=self.port)
        wait_until("the standby is the primary", lambda: self.in_recovery() == "f", FOLLOW_SECONDS)
        old = self.stack.pg_data
        self.stack.supervisor.replace("postgres", by="standby")
        self.stack.pg_ports.reverse()
        self.stack.pg_data = self.data
        shutil.rmtree(old, ignore_errors=True)

    def in_recovery(self):
        return self.stack.sql("select pg_is_in_recovery()", port=self.port)


@kind("postgres", spares_leases=True)
def pg_failover(world, chance):
    """What was acknowledged is on the standby, too, so nothing of it may be lost."""
    standby = Standby(world.stack)
    standby.follow()
    standby.lose_primary()
    yield chance.uniform(0.2, 1.5)
    standby.take_over()


@kind("postgres")
def pg_failover_past_the_lease(world, chance):
    standby = Standby(world.stack)
    standby.follow()
    standby.lose_primary()
    yield chance.uniform(stacks.REASSIGN, stacks.REASSIGN + 3)
    standby.take_over()
