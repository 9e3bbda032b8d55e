"""A waveform is the same however it is made: in Python, from a scenario, from its own dump, by replacing a value."""

import pickle

import msgspec
import pytest

from testbed.config import dump, load_scenario
from testbed.errors import ScenarioError
from testbed.phy.waveform import PROFILES, Waveform

SCENARIO = 'name = "made"\n[waveform]\n{lines}\n[[edges]]\nname = "edge-1"\nuser = 0\n'


def loaded(tmp_path, lines):
    path = tmp_path / "made.toml"
    path.write_text(SCENARIO.format(lines=lines), encoding="utf-8")
    return load_scenario(path)


@pytest.mark.parametrize("profile", PROFILES)
def test_python_and_toml_give_the_same_waveform(tmp_path, profile):
    made = Waveform(profile=profile)
    assert loaded(tmp_path, f'profile = "{profile}"').waveform == made
    assert {key: getattr(made, key) for key in PROFILES[profile]} == PROFILES[profile]
    assert made.spacing_hz == 15_000


def test_without_a_profile_it_is_ota(tmp_path):
    assert Waveform() == Waveform(profile="ota") == loaded(tmp_path, "").waveform
    assert (Waveform().fft_size, Waveform(profile="wide").fft_size) == (128, 256)


def test_a_given_number_goes_before_the_profiles(tmp_path):
    made = Waveform(profile="wide", fft_size=512, cp_samples=40)
    assert (made.fft_size, made.cp_samples, made.occupied_subcarriers) == (512, 40, 144)
    assert loaded(tmp_path, 'profile = "wide"\nfft_size = 512\ncp_samples = 40').waveform == made


@pytest.mark.parametrize("profile", PROFILES)
def test_copies_are_equal_and_keep_what_was_given(tmp_path, profile):
    scenario = loaded(tmp_path, f'profile = "{profile}"\ncp_samples = 20')
    made = scenario.waveform
    (tmp_path / "made.toml").write_bytes(dump(scenario))
    assert load_scenario(tmp_path / "made.toml").waveform == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(pickle.loads(pickle.dumps(made))) == hash(made)
    assert msgspec.convert(msgspec.to_builtins(made), Waveform) == made
    other = msgspec.structs.replace(made, gap_samples=7)
    assert (other.fft_size, other.cp_samples, other.gap_samples) == (made.fft_size, 20, 7)


def test_an_unknown_profile_lists_the_known(tmp_path):
    with pytest.raises(ScenarioError, match=r"waveform.profile = narrow: allowed: ota, wide"):
        Waveform(profile="narrow")
    with pytest.raises(ScenarioError, match=r"waveform.profile = .*allowed: ota, wide"):
        loaded(tmp_path, 'profile = "narrow"')
    with pytest.raises(ScenarioError, match="fft_size = 0"):
        Waveform(fft_size=0)
