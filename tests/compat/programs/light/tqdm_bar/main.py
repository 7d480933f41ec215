"""Bars of tqdm on standard error, without times."""

from tqdm import tqdm, trange

for _ in tqdm(range(5), desc="rows", bar_format="{desc}: {n_fmt}/{total_fmt} {bar}", ncols=40, mininterval=0):
    pass
with tqdm(total=100, bar_format="{percentage:3.0f}%", mininterval=0) as bar:
    for _ in range(4):
        bar.update(25)
for _ in trange(2, disable=True):
    tqdm.write("a line between bars")
