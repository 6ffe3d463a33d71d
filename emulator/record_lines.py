"""Makes the shipped recordings: `python -m emulator.record_lines` writes every WAV of `recordings/lines.toml`."""

import tomllib
from pathlib import Path

from emulator import espeak
from emulator.audio import ulaw_to_wav


def main() -> None:
    folder = Path(__file__).parent / "recordings"
    lines = tomllib.loads((folder / "lines.toml").read_text(encoding="utf-8"))["line"]
    for name, line in lines.items():
        if line["made"] == "noise":
            ulaw = espeak.cough()
        else:
            ulaw = espeak.speech(line["spoken"], speed=line["speed"], pitch=line["pitch"])
        (folder / f"{name}.wav").write_bytes(ulaw_to_wav(ulaw))
        print(f"{name}.wav  {len(ulaw) / 8000:.1f} s  {line['text']}")  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
