"""The recorder of a run: what its SigMF recording says of the radio and of the scenario."""

from __future__ import annotations

from calibration.apply import calibrations_of
from testbed.config import ServerConfig
from testbed.radio.base import Radio
from testbed.record.captures import Description, hardware_of
from testbed.record.folder import RECORDING, RunFolder
from testbed.record.recorder import Recorder


def recorder_of(config: ServerConfig, folder: RunFolder, radio: Radio) -> Recorder:
    """A recorder of what this server's radio receives, in the run folder.

    Raises
    ------
    DataError
        If nothing can be written there.
    """
    waveform = config.waveform
    description = Description(
        rate_hz=waveform.sample_rate_hz,
        antennas=config.server.antennas,
        radio=config.radio,
        hardware=hardware_of(radio.identity),
        text=f"what {config.server.name} received of {len(config.users)} users, run {folder.path.name}",
        calibration=calibrations_of(radio),
        more={"seed": config.seed, "users": config.users, "profile": waveform.profile},
    )
    return Recorder(folder.path / RECORDING, description, waits=radio.paced, tuning=lambda: radio.tuning)
