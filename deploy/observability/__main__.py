"""Write the dashboards, the rules and the rules' tests: `python -m deploy.observability`."""

from __future__ import annotations

from deploy.observability.files import ROOT, files

if __name__ == "__main__":
    for name, text in files().items():
        place = ROOT / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
