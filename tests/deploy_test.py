"""Holds deploy/ against the programs, the schemas and the tools that it is written for.

Nothing is installed or started but a Postgres of its own. A tool that is missing is an error: tools/install_deps.sh
--test brings all of them.
"""
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
import support  # noqa: E402

try:
    import jsonschema
    import yaml
except ImportError as error:
    sys.exit(f"{error}: run tools/install_deps.sh --test")

ROOT = support.ROOT
BIN = support.BIN.resolve()
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
PROMTOOL = support.PROMETHEUS_BIN / "promtool"
SCHEMAS = ROOT / "build/kubernetes-schemas"
# The oldest release that the manifests are for, and the newest there are schemas of.
KUBERNETES_VERSIONS = ("1.30.0", "1.37.0")
EXIT_UNAVAILABLE = 69
SECONDS = 60
NO_DATABASE = "database_url=host=/no/such"
# worker/agent.cc: how long a stopping agent waits for publishing, reporting and killing beyond the grace.
STOP_SECONDS_BEYOND_GRACE = 60 + 10 + 30


def run(*argv, **options):
    """What a program said and its status; both streams in one, as a person sees them."""
    try:
        return subprocess.run([str(arg) for arg in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, **options)
    except FileNotFoundError:
        raise AssertionError(f"{argv[0]} is missing: run tools/install_deps.sh --test") from None


def read(path):
    return (ROOT / path).read_text()


def proto_fields(message):
    text = read("proto/finetuned/config/v1/config.proto")
    body = re.search(rf"^message {message} {{\n(.*?)^}}", text, re.M | re.S)[1]
    return re.findall(r"^  [\w<>., ]+ (\w+) = \d+", body, re.M)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = support.make_folder()
        self.addCleanup(shutil.rmtree, self.folder)

    def check(self, done, status=0, said=None):
        self.assertEqual(done.returncode, status, done.stdout)
        if said is not None:
            self.assertIn(said, done.stdout)
        return done.stdout

    def program(self, name, *args):
        return run(BIN / name, *args, env=support.clean_environment(self.folder), cwd=self.folder)

    def with_certificates(self, path):
        """The file with the names of real ones where it names certificates and keys, so that nothing is left out of it.

        One certificate is good for all: it has signed itself.
        """
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        if not key.exists():
            self.check(run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-days", "2", "-subj", "/CN=test", "-keyout", key, "-out", certificate))
        text = re.sub(r"\b(key_file|cert_file|ca_file|client_ca_file): [\w./-]+",
                      lambda found: f"{found[1]}: {key if found[1] == 'key_file' else certificate}", path.read_text())
        changed = self.folder / f"with-certificates-{path.name}"
        changed.write_text(text)
        return changed

    def check_daemon_takes(self, config):
        """The whole configuration is good, as far as it can be without the host it is for: Postgres is asked next."""
        (self.folder / "artifacts").mkdir(exist_ok=True)
        config = self.with_certificates(config)
        done = self.program("finetuned", "serve", "--config", config, "--set", NO_DATABASE,
                            "--set", f"artifact_root={self.folder}/artifacts")
        self.check(done, EXIT_UNAVAILABLE, "start that Postgres")

    def check_migrate_takes(self, config):
        done = self.program("finetuned", "migrate", "--config", config, "--set", NO_DATABASE)
        self.check(done, EXIT_UNAVAILABLE, "start that Postgres")

    def check_worker_takes(self, config):
        """Certificates are read, and the token is looked for next."""
        (self.folder / "artifacts").mkdir(exist_ok=True)
        config = self.with_certificates(config)
        done = self.program("finetuned-worker", "--config", config, "--token_file=/no/such", "--name=test",
                            f"--artifact_root={self.folder}/artifacts", f"--work_dir={self.folder}/work")
        self.check(done, 1, "token_file: cannot open /no/such")


class SystemdTest(Case):
    UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
    EXPOSURE = {"finetuned.service": 2.0, "finetuned-migrate.service": 2.0, "finetuned-worker.service": 3.0}

    def settings(self, unit, key):
        return re.findall(rf"^{key}=(.*)$", read(f"deploy/systemd/{unit}"), re.M)

    def test_systemd_has_nothing_to_say_about_the_units(self):
        self.assertEqual({unit.name for unit in self.UNITS}, set(self.EXPOSURE))
        stub = self.folder / "finetuned"
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
        for unit in self.UNITS:
            text = unit.read_text()
            self.assertIn("=/opt/finetuned/bin/finetuned ", text)
            (self.folder / unit.name).write_text(text.replace("/opt/finetuned/bin/finetuned", str(stub)))
        done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                   *(self.folder / name for name in self.EXPOSURE),
                   env={**os.environ, "SYSTEMD_UNIT_PATH": f"{self.folder}:"})
        self.assertEqual(self.check(done), "")

    def test_the_units_are_hardened(self):
        for unit in self.UNITS:
            said = self.check(run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit))
            exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
            self.assertLessEqual(exposure, self.EXPOSURE[unit.name], said)

    def test_a_unit_is_not_started_again_where_that_does_not_help(self):
        page = read("docs/operations/configuration.md")
        for unit, table, worth_it in (("finetuned.service", "`finetuned`:", {0, 69}),
                                      ("finetuned-worker.service", "`finetuned worker` becomes", {0, 69})):
            rows = page.split(table, 1)[1].split("\n\n")[1]
            documented = {int(status) for status in re.findall(r"^\| (\d+) \|", rows, re.M)} | {64}
            [prevented] = self.settings(unit, "RestartPreventExitStatus")
            self.assertEqual({int(status) for status in prevented.split()}, documented - worth_it, unit)
            self.assertEqual(self.settings(unit, "Restart"), ["on-failure"])

    def test_trainers_survive_the_agent(self):
        unit = "finetuned-worker.service"
        self.assertEqual(self.settings(unit, "KillMode"), ["process"])
        self.assertEqual(self.settings(unit, "OOMPolicy"), ["continue"])
        for taken_away in ("PrivateTmp", "RuntimeDirectory", "RemoveIPC", "PrivateDevices", "MemoryDenyWriteExecute"):
            self.assertEqual(self.settings(unit, taken_away), [], taken_away)

    def test_users_and_folders_can_be_made(self):
        sysusers, tmpfiles = DEPLOY / "systemd/finetuned.sysusers", DEPLOY / "systemd/finetuned.tmpfiles"
        (self.folder / "etc").mkdir()
        said = self.check(run("systemd-sysusers", "--dry-run", f"--root={self.folder}", sysusers))
        users = set(re.findall(r"Creating user '([\w-]+)'", said))
        for unit in self.UNITS:
            self.assertLessEqual(set(self.settings(unit.name, "User") + self.settings(unit.name, "Group")), users)
        # No line is carried out; all are read.
        done = run("systemd-tmpfiles", "--create", f"--root={self.folder}", "--prefix=/no/such", tmpfiles)
        self.assertEqual(self.check(done), "")
        for line in tmpfiles.read_text().splitlines():
            if not line.startswith("#"):
                self.assertLessEqual(set(line.split()[3:5]), users | {"root"}, line)


class ExamplesTest(Case):
    def all_settings(self, name):
        """The example with its commented settings as well."""
        path = self.folder / name
        path.write_text(re.sub(r"^#(\w+:)", r"\1", read(f"deploy/examples/{name}"), flags=re.M))
        return path

    def test_the_programs_take_the_examples(self):
        self.check_daemon_takes(DEPLOY / "examples/serve.yaml")
        self.check_migrate_takes(DEPLOY / "examples/migrate.yaml")
        self.check_worker_takes(DEPLOY / "examples/worker.yaml")

    def test_the_programs_take_the_settings_that_are_comments(self):
        self.check_daemon_takes(self.all_settings("serve.yaml"))
        self.check_worker_takes(self.all_settings("worker.yaml"))

    def test_every_field_is_shown(self):
        for name, message, parts in (
                ("serve.yaml", "DaemonConfig", {"lease": "LeaseConfig", "tls": "ServerTls", "hub": "DaemonHub"}),
                ("worker.yaml", "WorkerConfig", {"tls": "ClientTls", "hub": "WorkerHub"})):
            shown = yaml.safe_load(self.all_settings(name).read_text())
            self.assertEqual(set(shown), set(proto_fields(message)))
            for field, part in parts.items():
                self.assertEqual(set(shown[field]), set(proto_fields(part)), f"{name} {field}")


class PostgresTest(Case):
    PASSWORDS = {"finetuned_migrate": "it's $ecret", "finetuned_daemon": 'a "b" %L \\ c'}

    def start(self):
        """A Postgres with the recommended settings, but for its memory, that logs every statement it is let to."""
        # Run by root, Postgres is another user. Without its package there is none of its own.
        users = [user.pw_name for user in pwd.getpwall()]
        as_user = {"user": "postgres" if "postgres" in users else "nobody"} if os.geteuid() == 0 else {}
        data, self.log = self.folder / "data", self.folder / "log"
        self.folder.chmod(0o777)
        self.check(run(support.postgres_program("initdb"), "-D", data, "-U", "postgres", "--auth-local=trust",
                       "--auth-host=scram-sha-256", "--no-sync", **as_user))
        (data / "postgresql.conf").write_text(read("deploy/postgres/finetuned.conf"))
        self.port = support.free_ports(1)
        with open(self.log, "wb") as log:
            server = subprocess.Popen(
                [support.postgres_program("postgres"), "-D", data, "-p", str(self.port), "-k", self.folder,
                 "-c", "shared_buffers=32MB", "-c", "fsync=off", "-c", "log_statement=all",
                 "-c", "listen_addresses=127.0.0.1"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=support.die_with_parent, **as_user)
        self.addCleanup(server.wait, SECONDS)
        self.addCleanup(server.terminate)
        self.environment = {**support.clean_environment(self.folder), "PGHOST": str(self.folder), "PGUSER": "postgres",
                            "PGPORT": str(self.port), "PSQL": str(support.postgres_program("psql"))}
        ready = support.postgres_program("pg_isready")
        support.wait_until("Postgres is up", lambda: run(ready, env=self.environment).returncode == 0, SECONDS)

    def sql(self, statement):
        done = run(self.environment["PSQL"], "-XAtqc", statement, "-d", "postgres", env=self.environment)
        return self.check(done).strip()

    def setup_sh(self, **variables):
        done = run("bash", DEPLOY / "postgres/setup.sh", env={**self.environment, **variables})
        self.assertEqual(self.check(done), "")

    def as_role(self, role, *args):
        """One of our commands, which logs in with the role's password from a file."""
        pgpass = self.folder / f"{role}.pgpass"
        password = self.PASSWORDS[role].replace("\\", "\\\\").replace(":", "\\:")
        pgpass.write_text(f"127.0.0.1:{self.port}:finetuned:{role}:{password}\n")
        pgpass.chmod(0o600)
        return run(BIN / "finetuned", *args, "--set",
                   f"database_url=host=127.0.0.1 port={self.port} user={role} dbname=finetuned",
                   env={**support.clean_environment(self.folder), "PGPASSFILE": str(pgpass)})

    def test_the_roles_are_what_the_programs_need(self):
        self.start()
        self.assertEqual(self.sql("select name, error from pg_file_settings where error is not null and "
                                  "name <> 'shared_buffers'"), "")
        passwords = {f"{role.upper()}_PASSWORD": password for role, password in self.PASSWORDS.items()}
        self.setup_sh(FINETUNED_MIGRATE_PASSWORD="the first one", FINETUNED_DAEMON_PASSWORD="the first one")
        self.setup_sh(**passwords)
        # Without a password in the environment the one that is set stays.
        self.setup_sh()
        # The daemon's role cannot change the schema, and the migration's can, again and again.
        self.assertNotEqual(self.as_role("finetuned_daemon", "migrate").returncode, 0)
        for _ in range(2):
            self.check(self.as_role("finetuned_migrate", "migrate"), said="schema version")
        self.setup_sh()
        self.check(self.as_role("finetuned_daemon", "token", "create", "--principal", "ann@example.com"), said="ftk_")
        self.assertEqual(self.sql("select count(*) from pg_roles where rolname like 'finetuned%' and not (rolsuper or "
                                  "rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)"), "2")
        self.assertEqual(self.sql("select has_database_privilege('public', 'finetuned', 'connect')"), "f")
        log = self.log.read_text()
        # Everything is logged up to here.
        self.assertIn("set log_statement = 'none'", log)
        for password in [*self.PASSWORDS.values(), "the first one"]:
            self.assertNotIn(password, log)
            self.assertNotIn(password.replace("'", "''"), log)


class Kustomization:
    """What `kubectl kustomize` makes of a folder, for the few things that ours use; without the hashes in names.

    With `uncomment`, as if somebody had switched on what is commented out; of remarks the first character is a space.
    """

    def __init__(self, folder, uncomment=False):
        def read_yaml(path):
            text = path.read_text()
            return re.sub(r"^( *)#(?=\w|-|  )", r"\1", text, flags=re.M) if uncomment else text
        self.documents = []
        content = yaml.safe_load((folder / "kustomization.yaml").read_text())
        unknown = set(content) - {"apiVersion", "kind", "namespace", "resources", "configMapGenerator"}
        assert not unknown, f"{folder}: {unknown}"
        for resource in content.get("resources", []):
            path = folder / resource
            if path.is_dir():
                self.documents += Kustomization(path, uncomment).documents
            else:
                self.documents += [document for document in yaml.safe_load_all(read_yaml(path)) if document]
        for generator in content.get("configMapGenerator", []):
            files = [folder / name for name in generator["files"]]
            self.documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]},
                                   "data": {file.name: read_yaml(file) if file.suffix == ".yaml" else file.read_text()
                                            for file in files}})
        for document in self.documents:
            if "namespace" in content and document["kind"] != "Namespace":
                document["metadata"]["namespace"] = content["namespace"]


class KubernetesTest(Case):
    FOLDERS = ("prepare", "migrate", "run", "monitoring")
    # Whether what is commented out is switched on.
    WITH_HUB = False

    @classmethod
    def setUpClass(cls):
        folders = [Kustomization(KUBERNETES / folder, uncomment=cls.WITH_HUB) for folder in cls.FOLDERS]
        cls.documents = [document for folder in folders for document in folder.documents]
        cls.pods = {document["metadata"]["name"]: (document, document["spec"]["template"])
                    for document in cls.documents if document["kind"] in ("Deployment", "StatefulSet", "Job")}

    def named(self, kind):
        return {one["metadata"]["name"]: one for one in self.documents if one["kind"] == kind}

    def config(self, name, file):
        """A file of a ConfigMap, as it is."""
        path = self.folder / file
        path.write_text(self.named("ConfigMap")[name]["data"][file])
        return path

    def test_every_folder_and_file_belongs_to_a_kustomization(self):
        self.assertEqual({path.parent.name for path in KUBERNETES.rglob("kustomization.yaml")}, set(self.FOLDERS))
        for folder in self.FOLDERS:
            text = (KUBERNETES / folder / "kustomization.yaml").read_text()
            for path in (KUBERNETES / folder).rglob("*"):
                if path.is_file() and path.name not in ("kustomization.yaml", "schema.json"):
                    self.assertIn(str(path.relative_to(KUBERNETES / folder)), text)

    def test_the_api_server_would_know_every_field(self):
        pinned = re.search(r"^kubernetes-validate==(\S+)", read("deploy/requirements-test.txt"), re.M)[1]
        wheels = list(SCHEMAS.glob(f"kubernetes_validate-{pinned}-*.whl"))
        self.assertEqual(len(wheels), 1, f"the schemas are not in {SCHEMAS}: run tools/install_deps.sh --test")
        own = json.loads((KUBERNETES / "monitoring/schema.json").read_text())
        with zipfile.ZipFile(wheels[0]) as wheel:
            for version in KUBERNETES_VERSIONS:
                folder = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
                # Without their addresses, so that what they refer to is found here.
                definitions = json.loads(wheel.read(folder + "_definitions.json"))
                definitions.pop("$id", None)
                for document in self.documents:
                    kind = document["kind"]
                    schema = own.get(kind)
                    if schema is None:
                        group = re.sub(r"\.[^/]*/|/", "-", document["apiVersion"])
                        schema = json.loads(wheel.read(f"{folder}{kind.lower()}-{group}.json"))
                        schema.pop("$id", None)
                    resolver = jsonschema.RefResolver("", schema, store={"/api/_definitions.json": definitions})
                    validator = jsonschema.Draft202012Validator(schema, resolver=resolver)
                    errors = [f"{version} {kind} {document['metadata']['name']}: {'.'.join(map(str, found.path))}: "
                              f"{found.message[:300]}" for found in validator.iter_errors(document)]
                    self.assertEqual(errors, [])

    def test_every_object_has_a_name_of_its_own_in_the_namespace(self):
        names = [(document["kind"], document["metadata"]["name"]) for document in self.documents]
        self.assertEqual(len(names), len(set(names)))
        for document in self.documents:
            if document["kind"] != "Namespace":
                self.assertEqual(document["metadata"]["namespace"], "finetuned")

    def test_what_is_referred_to_is_there(self):
        readme = read("deploy/README.md")
        for name, (document, template) in self.pods.items():
            spec, [container] = template["spec"], template["spec"]["containers"]
            self.assertIn(spec["serviceAccountName"], self.named("ServiceAccount"))
            volumes = {volume["name"] for volume in spec["volumes"]}
            volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
            self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, volumes, name)
            secrets = {}
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    secrets[reference["name"]] = reference["key"]
                # No value of a secret is in a manifest.
                self.assertNotRegex(variable["name"] if "value" in variable else "", "PASSWORD|TOKEN|SECRET")
            for volume in spec["volumes"]:
                if "secret" in volume:
                    secrets[volume["secret"]["secretName"]] = ""
                if "persistentVolumeClaim" in volume:
                    self.assertIn(volume["persistentVolumeClaim"]["claimName"], self.named("PersistentVolumeClaim"))
                if "configMap" in volume and volume["configMap"]["name"] not in self.named("ConfigMap"):
                    self.assertIn(f"create configmap {volume['configMap']['name']} ", readme)
            for secret, key in secrets.items():
                self.assertRegex(readme, rf"create secret generic {secret} .*--from-file={key}")

    def test_selectors_and_ports_meet(self):
        labels = {name: template["metadata"]["labels"] for name, (_, template) in self.pods.items()}
        ports = {port["name"]: port["containerPort"] for _, template in self.pods.values()
                 for port in template["spec"]["containers"][0].get("ports", [])}

        def selected(selector):
            return [name for name, has in labels.items() if selector.items() <= has.items()]
        for name, (document, _) in self.pods.items():
            if document["kind"] != "Job":
                self.assertEqual(selected(document["spec"]["selector"]["matchLabels"]), [name])
        for service in self.named("Service").values():
            self.assertEqual(len(selected(service["spec"]["selector"])), 1)
            for port in service["spec"].get("ports", []):
                self.assertEqual(ports[port["targetPort"]], port["port"])
        self.assertIn(self.pods["finetuned-worker"][0]["spec"]["serviceName"], self.named("Service"))
        budgets = [selected(budget["spec"]["selector"]["matchLabels"])
                   for budget in self.named("PodDisruptionBudget").values()]
        self.assertCountEqual(budgets, [["finetuned"], ["finetuned-worker"]])
        monitor = self.named("PodMonitor")["finetuned"]["spec"]
        self.assertEqual(selected(monitor["selector"]["matchLabels"]), ["finetuned"])
        self.assertIn(monitor["podMetricsEndpoints"][0]["port"], ports)
        # The job that alerts and dashboard name.
        self.assertEqual(labels["finetuned"][monitor["jobLabel"]], "finetuned")
        serve = yaml.safe_load(self.named("ConfigMap")["finetuned-daemon"]["data"]["serve.yaml"])
        for field, port in (("listen", "users"), ("worker_listen", "workers"), ("metrics_listen", "metrics")):
            self.assertEqual(serve[field], f"0.0.0.0:{ports[port]}")
        # Neither the PodMonitor nor the probe speaks TLS.
        self.assertIs(serve["tls"]["plain_metrics"], True)
        worker = yaml.safe_load(self.named("ConfigMap")["finetuned-worker"]["data"]["worker.yaml"])
        self.assertEqual(worker["daemon"], f"finetuned-worker-api.finetuned.svc:{ports['workers']}")
        self.assertIn("finetuned-worker-api", self.named("Service"))

    def test_traffic_is_denied_but_where_it_is_allowed(self):
        policies = self.named("NetworkPolicy")
        self.assertEqual(policies["default-deny"]["spec"],
                         {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        allowed = {"dns": {53}, "daemon": {7070, 7071, 7072, 5432}, "migrate": {5432},
                   "worker": {7071, 443} if self.WITH_HUB else {7071}}
        self.assertEqual(set(policies), {"default-deny", *allowed})
        for name, ports in allowed.items():
            spec = policies[name]["spec"]
            rules = spec.get("ingress", []) + spec.get("egress", [])
            self.assertEqual({port["port"] for rule in rules for port in rule["ports"]}, ports)
            self.assertEqual({kind.lower() for kind in spec["policyTypes"]}, {"ingress", "egress"} & set(spec))
            if name != "dns":
                labels = spec["podSelector"]["matchLabels"]
                self.assertTrue(any(labels.items() <= template["metadata"]["labels"].items()
                                    for _, template in self.pods.values()), name)

    def test_every_pod_keeps_to_the_restricted_profile(self):
        namespace = self.named("Namespace")["finetuned"]["metadata"]["labels"]
        self.assertEqual(namespace["pod-security.kubernetes.io/enforce"], "restricted")
        for account in self.named("ServiceAccount").values():
            self.assertIs(account["automountServiceAccountToken"], False)
        user = int(re.search(r"^USER (\d+):\1$", read("deploy/Containerfile"), re.M)[1])
        for name, (_, template) in self.pods.items():
            with self.subTest(name):
                spec, [container] = template["spec"], template["spec"]["containers"]
                self.assertIs(spec["automountServiceAccountToken"], False)
                pod = spec["securityContext"]
                self.assertEqual((pod["runAsNonRoot"], pod["runAsUser"], pod["runAsGroup"], pod["seccompProfile"]),
                                 (True, user, user, {"type": "RuntimeDefault"}))
                self.assertEqual(container["securityContext"], {"allowPrivilegeEscalation": False,
                                                                "readOnlyRootFilesystem": True,
                                                                "capabilities": {"drop": ["ALL"]}})
                self.assertFalse({"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec))
                for volume in spec["volumes"]:
                    self.assertLessEqual(set(volume) - {"name"},
                                         {"configMap", "secret", "emptyDir", "persistentVolumeClaim"})
                self.assertIn("memory", container["resources"]["limits"])
                self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]))

    def test_the_programs_take_the_configurations(self):
        self.check_daemon_takes(self.config("finetuned-daemon", "serve.yaml"))
        self.check_migrate_takes(self.config("finetuned-migrate", "migrate.yaml"))
        self.check_worker_takes(self.config("finetuned-worker", "worker.yaml"))

    def test_the_paths_in_the_configurations_are_mounted_or_in_the_image(self):
        image = "/opt/finetuned"
        for name, map_name, file in (("finetuned", "finetuned-daemon", "serve.yaml"),
                                     ("finetuned-migrate", "finetuned-migrate", "migrate.yaml"),
                                     ("finetuned-worker", "finetuned-worker", "worker.yaml")):
            [container] = self.pods[name][1]["spec"]["containers"]
            self.assertEqual(container["args"][-1], f"/etc/finetuned/{file}")
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            text = self.named("ConfigMap")[map_name]["data"][file]
            text = re.sub(r"^\s*#.*$|^data_roots.*$" if name == "finetuned" else r"^\s*#.*$", "", text, flags=re.M)
            for path in re.findall(r"(?<![\w.])/[\w/.-]+", text):
                self.assertTrue(path.startswith(image) or any(path.startswith(mount) for mount in mounts), path)
            # The programs keep copies of their certificates there.
            if "tls" in yaml.safe_load(text):
                self.assertFalse(mounts["/tmp"].get("readOnly", False))
        # Only workers write to the artifact root.
        for name, read_only in (("finetuned", True), ("finetuned-worker", False)):
            [mount] = [mount for mount in self.pods[name][1]["spec"]["containers"][0]["volumeMounts"]
                       if mount["name"] == "artifacts"]
            self.assertEqual(mount.get("readOnly", False), read_only)

    def test_a_worker_has_time_to_stop_and_offers_no_more_than_it_has(self):
        serve = yaml.safe_load(self.named("ConfigMap")["finetuned-daemon"]["data"]["serve.yaml"])
        worker = yaml.safe_load(self.named("ConfigMap")["finetuned-worker"]["data"]["worker.yaml"])
        document, template = self.pods["finetuned-worker"]
        [container] = template["spec"]["containers"]
        self.assertIs(worker["stop_trainers_on_exit"], True)
        grace = int(serve["lease"]["grace_duration"].removesuffix("s"))
        self.assertGreaterEqual(template["spec"]["terminationGracePeriodSeconds"], grace + STOP_SECONDS_BEYOND_GRACE)
        self.assertEqual(document["spec"]["updateStrategy"], {"type": "OnDelete"})
        limits = container["resources"]["limits"]
        self.assertEqual(container["resources"]["requests"], limits)
        self.assertLess(worker["capacity"]["cpus"], int(limits["cpu"]))
        self.assertLess(worker["capacity"]["memory_bytes"], int(limits["memory"].removesuffix("Gi")) << 30)
        self.assertEqual(worker["capacity"]["gpus"], int(limits.get("nvidia.com/gpu", 0)))
        [name] = [variable for variable in container["env"] if variable["name"] == "FINETUNED_NAME"]
        self.assertEqual(name["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name")

    def test_the_rule_is_made_from_the_rule_file(self):
        made = self.check(run("bash", DEPLOY / "prometheus/make_prometheus_rule.sh"))
        self.assertEqual((KUBERNETES / "monitoring/prometheus-rule.yaml").read_text(), made,
                         "run deploy/prometheus/make_prometheus_rule.sh, as its first lines say")
        self.assertEqual(self.named("PrometheusRule")["finetuned"]["spec"],
                         yaml.safe_load(read("deploy/prometheus/rules.yaml")))


class KubernetesWithHubTest(KubernetesTest):
    """The same of what the manifests are with a Hugging Face hub."""

    WITH_HUB = True

    def test_what_is_fetched_has_a_volume_of_its_own(self):
        worker = yaml.safe_load(self.named("ConfigMap")["finetuned-worker"]["data"]["worker.yaml"])
        document, template = self.pods["finetuned-worker"]
        [mount] = [mount for mount in template["spec"]["containers"][0]["volumeMounts"]
                   if mount["mountPath"] == worker["hub"]["cache_dir"]]
        self.assertFalse(mount.get("readOnly", False))
        self.assertIn(mount["name"], {claim["metadata"]["name"] for claim in document["spec"]["volumeClaimTemplates"]})


class PrometheusTest(Case):
    RULES = yaml.safe_load(read("deploy/prometheus/rules.yaml"))
    ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
    DASHBOARD = json.loads(read("deploy/grafana/finetuned.json"))
    METRICS_PAGE = read("docs/operations/metrics.md")
    # What a kind's series are called, and the labels that Prometheus itself adds to each.
    SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
    OWN_LABELS = {"job", "instance"}
    # Answers of gRPC are documented by gRPC.
    CODES = {"OK", "UNKNOWN", "INTERNAL", "UNAVAILABLE"}

    @classmethod
    def documented(cls):
        """Every series of the page, with its labels."""
        series = {"up": set(cls.OWN_LABELS)}
        for name, kind, labels in re.findall(r"^\| `(finetuned_\w+)` \| (\w+) \| (.*?) \|", cls.METRICS_PAGE, re.M):
            for suffix in cls.SUFFIXES[kind]:
                series[name + suffix] = set(re.findall(r"\w+", labels)) | cls.OWN_LABELS
                series[name + suffix] |= {"le"} if suffix == "_bucket" else set()
        return series

    def check_names(self, expression):
        """Every metric and label is documented, and so is every value that is compared with."""
        series, labels = self.documented(), set()
        found = re.findall(r"\b(finetuned_\w+|up)\b(?:\{(.*?)\})?", expression)
        self.assertTrue(found, expression)
        words = set(re.findall(r"\w+", self.METRICS_PAGE + read("docs/run-lifecycle.md"))) | self.CODES | {"finetuned"}
        for name, matchers in found:
            self.assertIn(name, series, expression)
            labels |= series[name]
            for label, values in re.findall(r'(\w+)\s*[!=]~?\s*"(.*?)"', matchers):
                self.assertIn(label, series[name], expression)
                self.assertLessEqual(set(values.split("|")), words, expression)
        for by in re.findall(r"\b(?:by|without|on|ignoring) \((.*?)\)", expression):
            self.assertLessEqual(set(re.split(r",\s*", by)), labels, expression)

    def test_promtool_takes_the_rules_and_their_stories_come_true(self):
        self.check(run(PROMTOOL, "check", "rules", DEPLOY / "prometheus/rules.yaml"),
                   said=f"SUCCESS: {len(self.ALERTS)} rules found")
        self.check(run(PROMTOOL, "test", "rules", DEPLOY / "prometheus/rules_test.yaml"), said="SUCCESS")

    def test_promtool_takes_the_scrape_configuration_plain_and_with_tls(self):
        text = read("deploy/prometheus/scrape.yaml")
        for name, jobs in (("plain", text), ("tls", re.sub(r"^( *)#(?=\w)", r"\1", text, flags=re.M))):
            path = self.folder / name
            path.write_text("scrape_configs:\n" + jobs)
            self.check(run(PROMTOOL, "check", "config", self.with_certificates(path)), said="SUCCESS")
            [job] = yaml.safe_load(jobs)
            self.assertEqual((job["job_name"], job.get("scheme", "http")),
                             ("finetuned", "https" if name == "tls" else "http"))

    def test_every_alert_is_seen_to_fire_and_to_be_silent(self):
        stories = yaml.safe_load(read("deploy/prometheus/rules_test.yaml"))["tests"]
        looks = [look for story in stories for look in story["promql_expr_test"]]
        # A look is at all alerts that fire.
        self.assertEqual({look["expr"] for look in looks}, {'count by (alertname) (ALERTS{alertstate="firing"})'})
        fired = [re.search(r'alertname="(\w+)"', sample["labels"])[1]
                 for look in looks for sample in look.get("exp_samples", [])]
        self.assertEqual(set(fired), {alert["alert"] for alert in self.ALERTS})
        # The first story has every metric that is alerted on, in health.
        healthy = " ".join(series["series"] for series in stories[0]["input_series"])
        alerted = re.findall(r"\b(?:finetuned_\w+|up)\b", " ".join(alert["expr"] for alert in self.ALERTS))
        self.assertEqual([metric for metric in alerted if metric + "{" not in healthy], [])

    def test_every_alert_says_what_happened_and_what_to_do(self):
        self.assertEqual(len({alert["alert"] for alert in self.ALERTS}), len(self.ALERTS))
        for alert in self.ALERTS:
            self.assertEqual(set(alert["annotations"]), {"summary", "description"}, alert["alert"])
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            self.check_names(alert["expr"])

    def test_what_the_page_says_to_alert_on_is_alerted_on(self):
        wanted = re.findall(r"^\| `(\w+)` \|", self.METRICS_PAGE.split("## Alert on")[1], re.M)
        self.assertGreater(len(wanted), 10)
        alerted = " ".join(alert["expr"] for alert in self.ALERTS)
        self.assertEqual([metric for metric in wanted if not re.search(rf"\b{metric}", alerted)], [])

    def test_every_expression_of_the_dashboard_is_good(self):
        panels = [panel for panel in self.DASHBOARD["panels"] if panel["type"] != "row"]
        self.assertEqual(len({panel["id"] for panel in self.DASHBOARD["panels"]}), len(self.DASHBOARD["panels"]))
        expressions = []
        for panel in panels:
            self.assertTrue(panel["title"] and panel["description"] and panel["targets"], panel)
            self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"})
            for target in panel["targets"]:
                expressions.append(target["expr"].replace("$__rate_interval", "5m"))
                for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                    self.assertIn(label, target["expr"].replace("finetuned_database_writable", "instance"))
        for expression in expressions:
            self.check_names(expression)
        rules = [{"record": f"dashboard:{number}", "expr": one} for number, one in enumerate(expressions)]
        (self.folder / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.check(run(PROMTOOL, "check", "rules", self.folder / "rules.yaml"),
                   said=f"SUCCESS: {len(expressions)} rules found")
        # Nothing of what is measured is left out.
        measured = {re.sub(r"_(bucket|count|sum)$", "", name) for name in self.documented()}
        self.assertEqual([name for name in measured if name not in " ".join(expressions)], [])


class ContainerfileTest(Case):
    TEXT = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", read("deploy/Containerfile"), flags=re.M))

    def test_what_it_copies_is_there_and_nothing_is_missing(self):
        lines = re.findall(r"^COPY (?!--from)(.*)$", self.TEXT, re.M)
        copied = {source for line in lines for source in line.split()[:-1]}
        self.assertEqual([source for source in copied if not (ROOT / source).exists()], [])
        rooms = set(re.search(r"set\(FINETUNED_ROOMS (.*?)\)", read("CMakeLists.txt"))[1].split()) - {"tests"}
        self.assertLessEqual(rooms | {"cmake", "CMakeLists.txt", "CMakePresets.json"}, copied)

    def test_the_programs_find_their_libraries_and_no_other_is_installed(self):
        stage = self.TEXT.split("AS programs")[1]
        installed = set(re.search(r"--no-install-recommends (.*?) && ", stage)[1].split())
        programs = [BIN / name for name in ("finetune", "finetuned", "finetuned-shim", "finetuned-worker")]
        linked = self.packages(re.findall(r"NEEDED +(\S+)", self.check(run("objdump", "-p", *programs))))
        self.assertEqual(linked - installed, set())
        # What is linked by a library alone may be named, and may be left to its package. These two are no libraries.
        loaded = self.packages(re.findall(r"^\s(\S+) =>", self.check(run("ldd", *programs)), re.M))
        self.assertEqual(installed - loaded, {"ca-certificates", "tzdata"})

    def packages(self, libraries):
        """The packages that these are from, without the tests' sanitizers and what is in every image."""
        libraries = {name for name in libraries
                     if not re.match(r"lib(asan|ubsan|tsan|c|m|gcc_s|stdc\+\+)\.so|ld-linux", name)}
        said = self.check(run("dpkg-query", "-S", *(f"*/{name}" for name in libraries)))
        return set(re.findall(r"^([^:\s]+):", said, re.M))


class ScriptsTest(Case):
    def test_bash_can_read_every_script(self):
        scripts = sorted(DEPLOY.rglob("*.sh"))
        self.assertEqual(len(scripts), 3)
        for script in scripts:
            self.assertEqual((self.check(run("bash", "-n", script)), os.access(script, os.X_OK)), ("", True))


if __name__ == "__main__":
    unittest.main(verbosity=2)
