"""GPUs by replayed answers of NVML: fields, GPM, MIG, lost GPUs, a driver that restarts."""

import json
import threading

import pynvml
import pytest

from tests.vrtspike.profiling.nvml_replay import FOLDER, NvmlReplay, answers
from vrtspike.profiling.nvml_fields import QUESTIONS
from vrtspike.profiling.nvml_gpus import Gpus, gpu_absence
from vrtspike.profiling.nvml_pcie import PcieThread
from vrtspike.profiling.nvml_recording import main as record_main
from vrtspike.profiling.nvml_recording import record
from vrtspike.profiling.records import GpuRecord

GIB, MIB = 1024**3, 1024**2
NOT_SUPPORTED = [{"error": pynvml.NVML_ERROR_NOT_SUPPORTED}]
PCIE = {"pcie_tx_bytes_per_s", "pcie_rx_bytes_per_s"}


class Heard(list):
    """Events as (name, values)."""

    def __call__(self, name, **values):
        self.append((name, values))

    def named(self, name):
        return [values for each, values in self if each == name]


@pytest.fixture
def heard():
    return Heard()


def open_gpus(nvml, heard, now_s=lambda: 0.0):
    return Gpus(nvml, heard, now_s)


def without_pcie(record):
    return {name: value for name, value in vars(record).items() if name not in PCIE}


def test_every_recording_says_where_it_is_from():
    files = sorted(FOLDER.glob("*.json"))
    assert len(files) >= 4
    assert all(json.loads(file.read_text("utf-8"))["label"] for file in files)


def test_fields_have_their_units(heard):
    gpus = open_gpus(NvmlReplay(answers("ampere_pair")), heard)
    first, _ = gpus.sample()
    second, _ = gpus.sample()
    gpus.close()
    assert (first.index, first.uuid[:8], first.name[:11]) == (0, "GPU-1111", "NVIDIA A100")
    assert (first.util_percent, first.memory_util_percent) == (90, 40)
    assert (first.power_w, first.power_limit_w) == (300, 400)
    assert (first.memory_used_bytes, first.memory_total_bytes) == (30 * GIB, 80 * GIB)
    assert (first.temperature_c, first.sm_clock_mhz, first.memory_clock_mhz) == (61, 1410, 1593)
    assert second.energy_j - first.energy_j == 60
    assert (first.throttle_reasons, second.throttle_reasons) == (0, 4)
    assert first.error is None


def test_every_field_of_a_question_is_one_of_the_record():
    known = set(GpuRecord.__dataclass_fields__)
    nvml = NvmlReplay(answers("ampere_pair"))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    for question in QUESTIONS:
        assert set(question.fields) <= known
        assert set(question.ask(nvml, handle)) == set(question.fields)


def test_a_field_that_is_not_supported_is_null_asked_once_and_said_once(heard):
    nvml = NvmlReplay(answers("ampere_pair"))
    gpus = open_gpus(nvml, heard)
    for _ in range(3):
        _, second = gpus.sample()
        assert second.energy_j is None
        assert (second.power_w is None) == (second.error is not None)
    gpus.close()
    assert nvml.calls["nvmlDeviceGetTotalEnergyConsumption(gpu1)"] == 1
    first, second = heard.named("gpu_fields_unsupported")
    assert "energy_j" not in first["fields"].split()
    assert (second["index"], "energy_j" in second["fields"].split()) == (1, True)
    assert "sm_active_percent" in second["fields"]


def test_a_gpu_that_falls_off_the_bus_is_a_fact_and_may_come_back(heard):
    gpus = open_gpus(NvmlReplay(answers("ampere_pair")), heard)
    samples = [gpus.sample() for _ in range(6)]
    gpus.close()
    assert [s[1].error for s in samples] == [None, None, "GPU is lost", "GPU is lost", None, None]
    assert samples[2][1].temperature_c is None
    assert samples[2][0].temperature_c == 61
    assert samples[4][1].temperature_c == 61
    uuid = samples[0][1].uuid
    assert heard.named("gpu_error") == [{"index": 1, "uuid": uuid, "reason": "GPU is lost"}]
    assert heard.named("gpu_answers_again") == [{"index": 1, "uuid": uuid}]
    assert len(heard.named("gpu_fields_unsupported")) == 2


def test_one_strange_answer_does_not_hide_the_others(heard):
    strange = {"nvmlDeviceGetUtilizationRates(gpu0)": [{"error": pynvml.NVML_ERROR_UNKNOWN}]}
    passing = {"nvmlDeviceGetTemperature(gpu0,0)": [{"error": pynvml.NVML_ERROR_NO_DATA}, 50]}
    gpus = open_gpus(NvmlReplay(answers("hopper") | strange | passing), heard)
    (gpu,) = gpus.sample()
    (later,) = gpus.sample()
    gpus.close()
    assert (gpu.error, gpu.power_w, gpu.temperature_c) == ("Unknown Error", 300, None)
    assert later.temperature_c == 50


def test_hopper_tells_how_busy_it_is_from_the_second_sample_on(heard):
    nvml = NvmlReplay(answers("hopper"))
    gpus = open_gpus(nvml, heard)
    (first,), (second,), (third,) = (gpus.sample() for _ in range(3))
    gpus.close()
    assert first.sm_active_percent is None
    assert (second.sm_active_percent, third.sm_active_percent) == (71, 72)
    assert second.sm_occupancy_percent == 31.5
    assert (second.tensor_active_percent, second.dram_active_percent) == (24, 55.25)
    assert second.pcie_rx_bytes_per_s == 2200 * MIB
    assert second.util_percent == 91  # NVML's own, not the similar one of GPM
    assert nvml.calls["nvmlDeviceGetPcieThroughput(gpu0,0)"] == 0  # it takes 20 ms
    (missing,) = heard.named("gpu_fields_unsupported")[1:] or heard.named("gpu_fields_unsupported")
    assert missing["fields"] == "nvlink_rx_bytes_per_s nvlink_tx_bytes_per_s"
    assert (nvml.open, nvml.num_samples) == (0, 0)


def test_instances_of_a_divided_gpu_are_entries_of_their_own(heard):
    gpus = open_gpus(NvmlReplay(answers("hopper_mig")), heard)
    gpus.sample()
    whole, one, two = gpus.sample()
    gpus.close()
    assert [each.mig_index for each in (whole, one, two)] == [None, 0, 2]
    assert (one.index, one.parent_uuid) == (0, whole.uuid)
    assert one.uuid.startswith("MIG-55555555")
    assert (whole.memory_total_bytes, one.memory_total_bytes) == (80 * GIB, 40 * GIB)
    assert (one.memory_used_bytes, two.memory_used_bytes) == (9 * GIB, 3 * GIB)
    assert (one.util_percent, two.util_percent) == (81, 85)  # only GPM tells, by instance
    assert (one.sm_active_percent, two.sm_active_percent) == (61, 65)
    assert (whole.power_w, one.power_w) == (301, None)
    assert (whole.util_percent, whole.sm_active_percent, whole.error) == (None, None, None)


def test_a_driver_that_restarts_is_opened_anew_after_a_while(heard):
    seconds = iter(range(0, 1000, 20))
    nvml = NvmlReplay(answers("driver_restart"))
    gpus = open_gpus(nvml, heard, lambda: next(seconds))
    errors = [gpus.sample()[0].error for _ in range(5)]
    gpus.close()
    assert errors == [None, "Uninitialized", "Uninitialized", None, None]
    assert nvml.calls["nvmlInit()"] == 2
    assert heard.named("gpus_listed_anew") == [{"gpus": 1, "before": 1}]
    assert len(heard.named("gpu_answers_again")) == 1
    assert nvml.open == 0


def test_a_gpu_that_is_no_longer_listed_stays_with_its_error(heard):
    seconds = iter(range(0, 1000, 40))
    gone = [{"error": pynvml.NVML_ERROR_GPU_IS_LOST}]
    kept = {"fields": {"gpu": 1, "memory": 1}}
    nvml = NvmlReplay(
        answers("ampere_pair"),
        **{
            "nvmlDeviceGetCount()": [2, 1],
            "nvmlDeviceGetUtilizationRates(gpu0)": [*gone, kept],
            "nvmlDeviceGetUtilizationRates(gpu1)": gone,
        },
    )
    gpus = open_gpus(nvml, heard, lambda: next(seconds))
    assert [each.error for each in gpus.sample()] == ["GPU is lost", "GPU is lost"]
    first, second = gpus.sample()
    gpus.close()
    assert (first.error, first.util_percent) == (None, 1)
    assert (second.index, second.error) == (1, "the driver no longer lists it")


def test_a_gpu_that_cannot_be_opened_is_listed_with_its_error(heard):
    lost = {"nvmlDeviceGetHandleByIndex(1)": [{"error": pynvml.NVML_ERROR_UNKNOWN}]}
    gpus = open_gpus(NvmlReplay(answers("ampere_pair") | lost), heard)
    first, second = gpus.sample()
    gpus.close()
    assert (first.error, second.error, second.util_percent) == (None, "Unknown Error", None)


def test_no_driver_and_no_gpu_are_told_apart():
    absent = {"nvmlInit()": [{"error": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}]}
    assert gpu_absence(NvmlReplay(absent)) == "NVML Shared Library Not Found"
    gpus = Gpus(NvmlReplay(absent))
    assert (gpus.sample(), gpus.absent_reason) == (None, "NVML Shared Library Not Found")
    empty = NvmlReplay(answers("hopper"), **{"nvmlDeviceGetCount()": [0]})
    assert gpu_absence(empty) == "the driver lists no GPU"
    assert empty.open == 0
    assert Gpus(empty).sample() is None
    assert gpu_absence(NvmlReplay(answers("hopper"))) is None


def test_pcie_is_measured_beside_the_grid_and_each_figure_is_given_once():
    rounds = []

    def wait(ending, seconds):
        rounds.append(seconds)
        if len(rounds) == 2:
            ending.set()

    calls = answers("ampere_pair") | {"nvmlDeviceGetPcieThroughput(gpu1,0)": NOT_SUPPORTED}
    nvml = NvmlReplay(calls)
    handles = {place: nvml.nvmlDeviceGetHandleByIndex(place) for place in (0, 1)}
    pcie = PcieThread(nvml, handles, wait)
    assert pcie.close(timeout_s=20)
    assert pcie.take(0) == {
        "pcie_tx_bytes_per_s": 120_000 * 1024,
        "pcie_rx_bytes_per_s": 2_400_000 * 1024,
    }
    assert pcie.take(0) == pcie.take(1) == {}
    assert pcie.untold == {1}
    assert nvml.calls["nvmlDeviceGetPcieThroughput(gpu1,0)"] == 1


def test_a_pcie_call_that_never_returns_leaves_nvml_open():
    stuck, nvml = threading.Event(), NvmlReplay(answers("ampere_pair"))
    pcie = PcieThread(nvml, {0: "gpu0"}, lambda ending, seconds: stuck.wait(20))
    assert not pcie.close(timeout_s=0.01)
    stuck.set()
    assert pcie.close(timeout_s=20)


@pytest.mark.parametrize("name", ["hopper", "hopper_mig", "driver_restart"])
def test_what_is_recorded_replays_as_the_same_samples(name):
    written = json.loads(json.dumps(record(NvmlReplay(answers(name)), 4, lambda: None)))
    known, again = Gpus(NvmlReplay(answers(name))), Gpus(NvmlReplay(written))
    for _ in range(4):
        pairs = zip(known.sample(), again.sample(), strict=True)
        assert all(without_pcie(one) == without_pcie(two) for one, two in pairs)
    known.close()
    again.close()


def test_recording_where_there_is_no_gpu_is_one_line(tmp_path, capsys):
    if gpu_absence() is None:
        pytest.skip("this machine has a GPU")
    assert record_main(["--out", str(tmp_path / "a.json")]) == 2
    assert capsys.readouterr().err.startswith("error: no GPU to record")
    assert list(tmp_path.iterdir()) == []
