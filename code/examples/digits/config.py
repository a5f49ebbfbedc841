"""Every setting of the experiment: names bound to literals. `run <tag>` reads this file and never executes it.

A component is {"name": ..., argument: ...}. Its choices are in the dict at the end of its file, such as MODEL in
code/model/__init__.py; a wrong name lists them.
"""

epochs = 10
epoch_length = None  # batches of an epoch, for very large data: the next goes on from there; None: a pass over all

data = {  # other data sets and their arguments: docs/reference/data.md
    "name": "digits",  # 1797 handwritten digits of 8 x 8 pixels, from scikit-learn, offline
    "batch_size": 16,  # images a step; when you change it, change optimizer.lr too
    "eval_batch_size": 512,  # as large as memory allows; only rounding depends on it
    "split": {  # the same for every run; shares if below 1, else counts
        "val": 0.15,
        "test": 0.15,  # None where the data set comes with a test set
        "sample": None,  # 0.1: train on a tenth of the training samples, for quick experiments
        "folds": None,  # 5, with val = None: cross-validation; val is a fifth of what is not test
        "fold": 0,  # which fold is val: 0 to folds - 1
        "stratify": True,  # the same mix of classes in each split; False where images have no class
        "seed": 0,  # of the split alone: another one gives another split, the run's seed does not
    },
    "workers": 0,  # processes that read files ahead; 0: data in memory, on the device
}
transform = [  # in this order; for training alone add {"name": "crop", "padding": 4} and {"name": "flip"}
    {"name": "normalize", "mean": [0.3053], "std": [0.3761]},  # of each channel of your data, for pixels in 0..1
]

model = {"name": "lenet", "dropout": 0.4}  # more dropout where train/acc is far above val/acc
pretrained = None  # weights to start from: "tag/id", "tag/id@3" (@best, @last), a file; {"from": ..., "only": "body"}
loss = {"name": "cross_entropy", "label_smoothing": 0.0}  # a list of components is their sum
metric = [{"name": "acc"}]  # computed on train, val and test after each epoch

optimizer = {"name": "adam", "lr": 0.003, "weight_decay": 0.0}  # lr: lower where the loss jumps, higher where it crawls
scheduler = {"name": "cosine_warmup_decay", "peak": 0.3}  # peaks after 30 % of the steps; None: a constant rate
accumulate = 1  # slices of a batch, computed one after the other: more where a batch does not fit into memory
clip = None  # largest norm of the gradient, such as 1.0 where the loss jumps
amp = None  # mixed precision, faster on GPUs: "bf16", or "fp16" with a scaled loss for older ones
ema = None  # decay of an average of the weights that is evaluated in their place, such as 0.99 for noisy training

compiled = False  # True: torch.compile; worth it for long runs, as the first batches take a minute

monitor = "min val/loss"  # the metric whose best epoch is tested at the end; None: the last epoch is
early_stop = None  # {"patience": 5, "min_delta": 0.0}: stop after 5 epochs without progress of monitor
checkpoint = {
    "every": 1,  # epochs
    "every_steps": None,  # also within an epoch, for long ones: continuing is exact from either
    "every_minutes": None,
    "keep": 2,  # epochs; None: all. The best, and the newest two files, always stay
    "background": False,  # True: written by a thread; worth it for states of 50 MB and more
}

device = "auto"  # the first GPU, else the CPU; or "cpu", "cuda", "cuda:1"
processes = None  # that share each batch; None: one for each GPU, else one
threads = None  # of the CPU, for each process; None: its cores, 8 at most, shared. Another number gives other bits
deterministic = False  # True: the same bits on a GPU too, slower; a CPU gives them anyway

# "picture": history.png; also "mlflow", "wandb", "sacred", "elasticsearch", with arguments: docs/guides/loggers.md
logger = ["tensorboard", "picture"]  # statistic.json and history.jsonl are always written
log_every_steps = None  # n: every n steps also a line in history and a point in TensorBoard; waits for the GPU
# n: every n steps also in TensorBoard: weights and gradients, change/weight, layers' outputs, inputs;
# docs/guides/inspect.md
see = {"histograms": None, "ratios": None, "activations": None, "images": None, "graph": False}
hardware_every_seconds = 10.0  # of CPU, memory, disk, network, GPU, to hardware.jsonl and TensorBoard; None: never
verbose = "batch"  # a progress bar and a line an epoch; "epoch": no bar, as for logs; "quiet": only the result

overfit = None  # n: train, validate and test on the same n samples, of which a correct model learns 100 %
debug = False  # True: 2 epochs of 4 batches, with anomaly detection; so does `python code/main.py --debug`

search = None  # {"optimizer.lr": [0.01, 0.003], "model.dropout": [0.2, 0.4]}: for `exper search`; docs/guides/search.md
