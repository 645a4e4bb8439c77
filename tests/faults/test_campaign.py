"""Runner, worker and kernel killed once each; `python -m tests.faults.campaign` does so a hundred times."""

from tests.faults.campaign import campaign

SMALL = "notebooks: [3_train]\ncount: 80\ninput_size: 12\nmodels: [svm_thesis]\nprimary: svm_thesis\nfolds: 2\nthreads: 1\n"


def test_a_run_that_is_killed_ends_with_the_same_bytes_when_called_again(tmp_path):
    """No partial file carries a final name, `verify` finds nothing, and nothing hidden is left."""
    said = []
    rows = campaign(3, 1, tmp_path, parameters=SMALL, say=said.append, undisturbed=1)
    assert len(rows) == 3 and not [row for row in rows if row["faults"]], said
