"""The fault harness: promises about storage, interruption and hostile files as counted trials.

    python -m tests.faults --quick         a few trials of every row; `pytest` runs this too
    python -m tests.faults                 the full tier, prints one table
    python -m tests.faults --only K2 --seed 7 --trial 31     one trial again

The rows bear the numbers of the project's list of faults (K kills and signals, R resume, D disk,
F files, N numbers and memory, W workers), the long runs names. A row is a
function of one trial, marked with `@row` in a module that `__main__` names; see `rows`. Its trial
makes a fault happen, says whether it truly fired, and asserts what must hold afterwards. A row
fails if an assertion failed or if its faults fired less often than it promises: a harness that
injects nothing proves nothing. The rows K4 are controls: careless ways to save, which must be
caught.

    rows            what a row is, the running of rows, the table
    processes       children that may be killed, and what they say
    system_calls    standing between a process and the calls that change the disk
    a_run           a small run that saves checkpoints, and what must hold of its folder
    kills           K2, K3, K5: killed or failing inside a save
    controls        K4: ways to save that the rows above must catch
    storage         D1, D3, D4, D6, D7: full disks, bad folders, neighbours, leftovers, links
    damage          F1, F2: truncations and flipped bits
    hostile_files   F3, F4, F5 as bytes: payloads, archives and headers made to harm
    hostile         F3 to F9: loading them
    state_machine   F10: anything in any order
    training_run    a small run of `fit`, and what must be equal at its end
    training_kills  K1, K4: `fit` killed and resumed, again and again
    signals         K6, K7, K8: SIGTERM, Ctrl-C once and twice, readers that go away
    resume_matrix   R1: every kind of run, cut at every kind of place
    numerics        N1, N2, N3: numbers that are not finite, memory that runs out
    worker_faults   W1, W2, W3: workers of a loader killed, hung, raising
    long_runs       memory, descriptors, threads and children that must not grow
    test_quick_tier runs the quick tier and reports its rows as tests
    save_cost       what a save costs beside torch.save
"""
