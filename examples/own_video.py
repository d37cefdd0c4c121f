"""Operations on your own file: python examples/own_video.py clip.mp4 "Who is on the left?" """

import sys

from pixelis_env.actions import Answer, Properties, Segment, Zoom
from pixelis_env.describe import describe
from pixelis_env.env import PixelisEnv

path, question = sys.argv[1], sys.argv[2]
env = PixelisEnv(path, question=question)
env.reset()
for action in (
    Zoom(box=(250, 250, 750, 750)),  # thousandths of the view, as models write them
    Segment(source="e1", box=(100, 100, 900, 900)),  # relative to the crop e1
    Properties(targets=("e2",)),
):
    env.step(action)
    print(describe(env.workspace, f"e{len(env.workspace) - 1}"))
env.step(Answer(text="I cannot tell", evidence=("e2", "e3")))
print("saved", env.trace().save("runs/own_video/trace.json"))
