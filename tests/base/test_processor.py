"""Facts about the processor, and the precision of bottlenecks chosen by them."""

import pytest

from shelfbench.base import processor
from shelfbench_deep.features.settings import BottleneckSettings

AVX512 = "avx512f avx512dq avx512cd avx512bw avx512vl"
SAPPHIRE_RAPIDS = ("GenuineIntel", f"fpu {AVX512} avx512_bf16 amx_bf16 amx_tile")
WITHOUT_AMX = ("GenuineIntel", f"fpu {AVX512} avx512_bf16")
ZEN_5 = ("AuthenticAMD", f"fpu {AVX512} avx512_bf16 avx512_vp2intersect")
ZEN_3 = ("AuthenticAMD", "fpu avx avx2")


@pytest.fixture
def on(tmp_path, monkeypatch):
    """Pretend to run on a certain processor."""

    def pretend(made_by, flags):
        text = f"processor\t: 0\nvendor_id\t: {made_by}\nmodel name\t: A\nflags\t\t: {flags}\n\n"
        second = text.replace("fpu", "fpu of_the_second")
        (tmp_path / "cpuinfo").write_text(text + second)
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        processor.cpuinfo.cache_clear()

    yield pretend
    processor.cpuinfo.cache_clear()


@pytest.mark.parametrize(
    ("machine", "precision"),
    [(SAPPHIRE_RAPIDS, "bfloat16"), (WITHOUT_AMX, "float32"), (ZEN_5, "bfloat16"), (ZEN_3, "float32")],
)
def test_bottlenecks_are_in_bfloat16_where_that_is_faster(on, monkeypatch, machine, precision):
    on(*machine)
    monkeypatch.setattr("shelfbench_deep.features.settings.why_not_openvino", lambda: "")
    assert BottleneckSettings().settle().precision == precision
    assert BottleneckSettings(precision="float32").settle().precision == "float32"


def test_a_machine_that_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    processor.cpuinfo.cache_clear()
    try:
        assert processor.vendor() == ""
        assert not processor.has("avx2")
        assert not processor.multiplies_bfloat16_faster()
    finally:
        processor.cpuinfo.cache_clear()


@pytest.mark.parametrize(
    ("folder", "names", "limit", "left"),
    [
        (".", ("memory.max", "memory.current", "inactive_file"), "5000", 5000 - 3000 + 700),
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), "5000", 2700),
        (".", ("memory.max", "memory.current", "inactive_file"), "2000", 0),
        (".", ("memory.max", "memory.current", "inactive_file"), "max", None),
    ],
)
def test_a_container_may_have_less_memory_than_its_machine(tmp_path, monkeypatch, folder, names, limit, left):
    monkeypatch.setattr(processor, "CGROUPS", tmp_path)
    whole = processor.free_memory()
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in zip(names, (limit, "3000", ""), strict=True):
        (tmp_path / folder / name).write_text(text)
    (tmp_path / folder / "memory.stat").write_text(f"anon 2000\n{names[2]} 700\n")
    found = processor.free_memory()
    assert found == left if left is not None else found > 2**20
    assert whole > 2**20


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("inner", "outer"), [(4000, "max"), (9000, 4000)])
def test_the_limit_of_a_service_counts_wherever_it_is_set(tmp_path, monkeypatch, inner, outer, version):
    root = tmp_path / "groups" / ("memory" if version == 1 else "")
    most, used = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    )
    service = root / "system.slice" / "shop.service"
    service.mkdir(parents=True)
    for folder, limit in ((service, inner), (service.parent, outer)):
        (folder / most).write_text(str(limit))
        (folder / used).write_text("1000\n")
        (folder / "memory.stat").write_text("anon 1000\ninactive_file 0\n")
    controller = "4:cpu,memory" if version == 1 else "0:"
    (tmp_path / "own").write_text(f"9:name=systemd:/other\n{controller}:/system.slice/shop.service\n")
    monkeypatch.setattr(processor, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(processor, "OWN_GROUP", tmp_path / "own")
    assert processor.free_memory() == 3000


def test_only_the_first_processor_is_read(on):
    on(*ZEN_5)
    assert processor.has("fpu")
    assert not processor.has("of_the_second")
