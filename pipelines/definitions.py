"""The retraining for Dagster: what to change is in lorarec.toml, what to add stands here.

    pip install 'lorarec[pipelines]'
    DAGSTER_HOME="$PWD/retraining/dagster" dagster dev -h 127.0.0.1 -f definitions.py

`lorarec pipeline ui` opens the same page without this file.
"""

import dagster as dg

from lorarec.pipeline.definitions import definitions

retraining = definitions("lorarec.toml")

# Assets, sensors and schedules of your own go into a second Definitions:
own = dg.Definitions()

defs = dg.Definitions.merge(retraining, own)
