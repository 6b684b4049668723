"""TLS with Mesos 1.11, which is C++ libprocess: as its framework, and as its master."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from compactor import PID, Context, Reason
from tests.tls_fixture import Certificates

from .mesos_fixture import Cluster, Mesos
from .programs import Program
from .test_mesos_framework import started
from .test_mesos_master import FRAMEWORK_ID, Master

Tls = dict[str, str]


def variables(certificates: Certificates, **more: str) -> Tls:
    """The environment in which C++ speaks TLS."""
    values = {
        "ENABLED": "true",
        "KEY_FILE": certificates.folder / "host.key",
        "CERT_FILE": certificates.path("host"),
        "CA_FILE": certificates.path("ca"),
        **more,
    }
    return {f"LIBPROCESS_SSL_{name}": str(value) for name, value in values.items()}


REQUIRING = {"REQUIRE_CERT": "true", "VERIFY_CERT": "true", "VERIFY_IPADD": "true"}


@pytest.fixture
def secure_cluster(
    mesos: Mesos, mesos_cluster: Callable[..., Cluster], certificates: Certificates
) -> Callable[..., Cluster]:
    """What starts a master with an agent that speak TLS."""

    def start(**more: str) -> Cluster:
        tls = ssl.create_default_context(cafile=str(certificates.path("ca")))
        tls.load_cert_chain(certificates.path("host"), certificates.folder / "host.key")
        tls.set_ciphers("AES128-SHA")  # one of those that C++ has by default
        return mesos_cluster(more=variables(certificates, **more), tls=tls)

    return start


@pytest.mark.parametrize("rules", [{}, REQUIRING], ids=["encrypted", "verified"])
def test_framework_of_a_tls_master(
    new_context: Callable[..., Context],
    secure_cluster: Callable[..., Cluster],
    certificates: Certificates,
    rules: Tls,
) -> None:
    cluster = secure_cluster(**rules)
    tls = certificates.verifying() if rules else certificates.settings()
    framework, master, framework_id = started(new_context(tls=tls), cluster)
    framework.link(master)
    task_ids = [f"task-{number}" for number in range(500)]
    framework.reconcile(master, framework_id, task_ids)
    updates = framework.events.expect_all("update", len(task_ids))
    assert [status.task_id.value for _, status in updates] == task_ids
    assert cluster.framework(framework_id)["active"]
    assert framework.events.seen("exited") == []
    cluster.program.kill()
    pid, reason = framework.events.expect("exited")
    assert pid == master
    assert reason in (Reason.CLOSED, Reason.RESET)


@pytest.mark.parametrize("rules", [{}, REQUIRING], ids=["encrypted", "verified"])
def test_master_of_a_tls_driver(
    new_context: Callable[..., Context],
    mesos_driver: Callable[..., Program],
    certificates: Certificates,
    rules: Tls,
) -> None:
    master = Master()
    tls = certificates.verifying() if rules else certificates.settings()
    pid = new_context(tls=tls).spawn(master)
    driver = mesos_driver(pid, more=variables(certificates, **rules))
    subscriber, _ = master.events.expect("SUBSCRIBE")
    assert driver.expect("REGISTERED") == [FRAMEWORK_ID, "localhost", str(pid.port)]
    for number in range(3):
        master.offer(subscriber, f"offer-{number}", PID(pid.ip, pid.port, "slave(1)"))
        assert driver.expect("OFFER") == [f"offer-{number}", "agent.example"]
        master.events.expect("DECLINE")
    assert master.events.seen("exited") == []
    driver.kill()
    assert master.events.expect("exited")[0] == subscriber


def test_plain_driver_reaches_a_master_that_allows_downgrade(
    new_context: Callable[..., Context],
    mesos_driver: Callable[..., Program],
    certificates: Certificates,
) -> None:
    master = Master()
    tls = certificates.settings(support_downgrade=True)
    pid = new_context(tls=tls).spawn(master)
    driver = mesos_driver(pid)
    master.events.expect("SUBSCRIBE")
    assert driver.expect("REGISTERED") == [FRAMEWORK_ID, "localhost", str(pid.port)]
    assert master.events.seen("exited") == []


def test_tls_driver_that_allows_downgrade_reaches_a_plain_master(
    context: Context, mesos_driver: Callable[..., Program], certificates: Certificates
) -> None:
    master = Master()
    pid = context.spawn(master)
    driver = mesos_driver(pid, more=variables(certificates, SUPPORT_DOWNGRADE="true"))
    master.events.expect("SUBSCRIBE")
    assert driver.expect("REGISTERED") == [FRAMEWORK_ID, "localhost", str(pid.port)]


def test_framework_with_downgrade_reaches_a_plain_master(
    new_context: Callable[..., Context],
    mesos_cluster: Callable[..., Cluster],
    certificates: Certificates,
) -> None:
    tls = certificates.settings(support_downgrade=True)
    framework, master, framework_id = started(new_context(tls=tls), mesos_cluster())
    framework.reconcile(master, framework_id, ["task"])
    framework.events.expect("update")
