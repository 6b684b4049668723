"""Runs on Python 2.7: Mesos' own C++ scheduler driver; ``local`` starts a whole cluster in it.

Usage: ``mesos_program.py MASTER [BURST]``, where MASTER is ``local`` or a pid.  It prints what the
driver is told.  With BURST, the driver launches a task on the first offer and sends that many
framework messages to the agent of the offer, directly; otherwise it declines every offer.
"""

import ctypes
import os
import signal
import sys

import mesos.interface
from mesos.interface import mesos_pb2
from mesos.scheduler import MesosSchedulerDriver

PR_SET_PDEATHSIG = 1


def say(*words):
    # In one write: the driver calls from a thread of its own.
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode("ascii"))


class Scheduler(mesos.interface.Scheduler):
    def __init__(self, is_local, burst):
        self.is_local = is_local
        self.burst = burst

    def registered(self, driver, framework_id, master_info):
        if self.is_local:
            driver.suppressOffers()  # they are for the frameworks of the tests
        say("REGISTERED", framework_id.value, master_info.hostname, master_info.port)

    def reregistered(self, driver, master_info):
        say("REREGISTERED", master_info.hostname, master_info.port)

    def disconnected(self, driver):
        say("DISCONNECTED")

    def resourceOffers(self, driver, offers):
        for offer in offers:
            say("OFFER", offer.id.value, offer.hostname)
            if self.burst:
                self.send_burst(driver, offer)
            else:
                driver.declineOffer(offer.id)

    def send_burst(self, driver, offer):
        task = mesos_pb2.TaskInfo(name="task")
        task.task_id.value = "task"
        task.slave_id.value = offer.slave_id.value
        task.command.value = "true"
        driver.launchTasks([offer.id], [task])
        executor = mesos_pb2.ExecutorID(value="executor")
        for number in range(self.burst):
            driver.sendFrameworkMessage(executor, offer.slave_id, str(number))
        say("SENT", self.burst)
        self.burst = 0

    def error(self, driver, message):
        say("ERROR", message)


def main():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # outlive no test run
    if os.getppid() == 1:
        sys.exit("the test run is gone")
    framework = mesos_pb2.FrameworkInfo(user="root", name="interop")
    burst = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    driver = MesosSchedulerDriver(Scheduler(sys.argv[1] == "local", burst), framework, sys.argv[1])
    driver.start()
    say("STARTED")
    while True:
        signal.pause()


main()
