"""Files as other programs write them: R, Excel, Stata, Weka, libsvm, AnnData, MATLAB, JSON."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
from conftest import user_error
from PIL import Image
from sklearn.datasets import dump_svmlight_file

from common.errors import UserError
from loaders.own import Reading, read_own


def written(tmp_path, name, content):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_text(content)
    return path


def read(tmp_path, name, content, like=None, **how):
    """Return (x, labels, names of the rows, prepared, notes)."""
    x, y, _, rows, prepared, notes = read_own(
        written(tmp_path, name, content), Reading(**how), like
    )
    return x, y, rows, prepared, " ".join(notes)


PAIRS = [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "text, columns",
    [
        ("\na,b\n1,2\n3,4\n", "ab"),
        (" \n\r\na,b\n1,2\n3,4\n", "ab"),
        ("# made today\n\na,b\n1,2\n3,4\n", "ab"),
        ("sep=;\na;b\n1;2\n3;4\n", "ab"),
        ("\ufeffsep=;\r\na;b\r\n1;2\r\n3;4\r\n", "ab"),
        ("a,b\n1,2\n   \n3,4\n", "ab"),
        ("a,b\n1,2\n,\n3,4\n,\n", "ab"),
        ("a,b\n1,2,\n3,4,\n", "ab"),
        ("a,b,\n1,2,\n3,4,\n", "ab"),
        ("a\tb\r\n1\t2\r\n3\t4\r\n", "ab"),
        ("\n1 2\n\n3  4\n", "12"),
    ],
)
def test_what_stands_around_a_table_is_left_out(tmp_path, text, columns):
    x, _, _, prepared, _ = read(tmp_path, "a.csv", text)
    assert x.tolist() == PAIRS and prepared["columns"] == list(columns)


def test_wrong_lines_are_counted_from_the_top_of_the_file(tmp_path):
    path = written(tmp_path, "a.csv", "sep=,\n\n# one\n\na,b\n1,2\n3,4,5\n")
    with user_error("3 values in line 7, expected 2 as in line 5"):
        read_own(path)
    path.write_text("sep=;\na;b\nr1;1;2\nr2;3\n")
    with user_error("2 values in line 4, expected 3 as in line 3"):
        read_own(path)
    path.write_text("a,b\n,\n,\n")
    with user_error("no rows with values"):
        read_own(path)


R_TABLES = {
    "write.table": '"a b" "c" "Species"\n"r1" 1 2 "wild rose"\n"r2" 3 4 "tulip"\n',
    "write.table, tabs": '"a b"\t"c"\t"Species"\n"r1"\t1\t2\t"wild rose"\n"r2"\t3\t4\t"tulip"\n',
    "write.table, no quotes": "a.b c Species\nr1 1 2 rose\nr2 3 4 tulip\n",
    "write.csv": '"","a b","c","Species"\n"r1",1,2,"wild rose"\n"r2",3,4,"tulip"\n',
    "write.csv2": '"";"a b";"c";"Species"\n"r1";1,0;2;"wild rose"\n"r2";3;4;"tulip"\n',
    "col.names = NA": '"" "a b" "c" "Species"\n"r1" 1 2 "wild rose"\n"r2" 3 4 "tulip"\n',
}


@pytest.mark.parametrize("text", R_TABLES.values(), ids=R_TABLES)
def test_tables_of_r(tmp_path, text):
    x, y, rows, prepared, notes = read(tmp_path, "r.txt", text)
    assert x.tolist() == PAIRS and rows == ("r1", "r2") and sorted(y) == [0, 1]
    assert prepared["columns"] in (["a b", "c"], ["a.b", "c"]) and "names of the rows" in notes


def test_blanks_separate_numbers_also_beside_one_tab(tmp_path):
    text = '18.0   8   307.0\t"chevrolet"\n15.0   8   ?\t"buick"\n18.0   6   318.0\t"ford"\n'
    x, y, _, _, notes = read(tmp_path, "a.data", text, label_column="4", missing="mean")
    assert x.shape == (3, 3) and x[1, 2] == 312.5 and y.tolist() == [1, 0, 2]


@pytest.mark.parametrize("word", [".", "-", "NA", "?", "#N/A"])
def test_words_for_a_missing_value(tmp_path, word):
    x, *_, notes = read(tmp_path, "a.csv", f"a,b\n1,{word}\n3,4\n", missing="mean")
    assert x.tolist() == [[1, 4], [3, 4]] and "1 of 2 in column 'b'" in notes


VECTORS = [[0.5, 1.5], [2.5, -3.0], [4.0, 1e-3]]
LISTS = {
    "a.parquet": lambda path: frame_of(VECTORS).to_parquet(path),
    "a.feather": lambda path: frame_of(VECTORS).to_feather(path),
    "a.json": lambda path: frame_of(VECTORS).to_json(path, orient="records"),
    "a.jsonl": lambda path: frame_of(VECTORS).to_json(path, orient="records", lines=True),
    "a.csv": lambda path: frame_of(VECTORS).to_csv(path, index=False),
    "b.csv": lambda path: frame_of(list(np.array(VECTORS))).to_csv(path, index=False),
}


def frame_of(vectors):
    return pd.DataFrame({"id": ["u", "v", "w"], "e": vectors, "label": ["b", "a", "b"]})


@pytest.mark.parametrize("name", LISTS)
def test_a_column_of_lists_is_as_many_columns(tmp_path, name):
    if name.endswith(("parquet", "feather")):
        pytest.importorskip("pyarrow")
    x, y, rows, prepared, notes = read(tmp_path, name, LISTS[name])
    np.testing.assert_allclose(x, VECTORS, rtol=1e-6)
    assert y.tolist() == [1, 0, 1] and rows == ("u", "v", "w")
    assert prepared["columns"] == ["e[0]", "e[1]"] and "'e' of lists taken as 2 columns" in notes
    new, *_ = read(tmp_path, "new.csv", 'e\n"[9, 8]"\n', prepared)
    assert new.tolist() == [[9, 8]]


@pytest.mark.parametrize(
    "cells, expected",
    [
        (["[1, 2]", "[1]"], "holds '[1]' in row 2, expected a list of 2 numbers"),
        (["[1, 2]", "5"], "holds '5' in row 2, expected a list of 2 numbers"),
        (["[a, b]", "[c, d]"], "holds '[a, b]' in row 1, expected a number or a list"),
        (["[1 ... 2]", "[3 ... 4]"], "expected all numbers of the list in place of '...'"),
        (["", "[3, 4]"], "holds '' in row 1, expected a list of 2 numbers"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, cells, expected):
    path = written(tmp_path, "a.csv", "v,e\n" + "".join(f'1,"{cell}"\n' for cell in cells))
    with user_error("column 'e'", expected, "--ignore-columns 'e'"):
        read_own(path)
    assert read_own(path, Reading(ignore_columns=("e",)))[0].shape == (2, 1)


def test_json_that_is_no_table(tmp_path):
    for text in ("3", "", "[", '{"a": 1}'):
        with user_error("a.json"):
            read_own(written(tmp_path, "a.json", text))
    with user_error("column 'a' holds", "expected numbers"):
        read_own(written(tmp_path, "a.json", '[{"a": {"b": 1}}, {"a": {"b": 2}}]'))
    x, y, *_ = read(tmp_path, "a.json", '{"x": [[1, 2], [3, 4]], "y": [1, 0]}')
    assert x.tolist() == PAIRS and y.tolist() == [1, 0]


def test_stata(tmp_path):
    table = pd.DataFrame({"a": [1.5, np.nan, 3.5], "label": ["u", "v", "u"]})
    write = lambda path: table.to_stata(path, write_index=False)  # noqa: E731
    x, y, *_ = read(tmp_path, "a.dta", write, missing="mean")
    assert x.tolist() == [[1.5], [2.5], [3.5]] and y.tolist() == [0, 1, 0]


def test_weka(tmp_path):
    head = (
        "@RELATION r\n@ATTRIBUTE a NUMERIC\n@ATTRIBUTE 'b c' REAL\n@ATTRIBUTE class {x,y}\n@DATA\n"
    )
    x, y, _, prepared, _ = read(tmp_path, "a.arff", head + "1,2,y\n3,?,x\n5,4,y\n", missing="mean")
    assert x.tolist() == [[1, 2], [3, 3], [5, 4]] and y.tolist() == [1, 0, 1]
    assert prepared["columns"] == ["a", "b c"]
    with user_error("no rows"):
        read_own(written(tmp_path, "a.arff", head))
    with user_error("cannot be read as an ARFF file"):
        read_own(written(tmp_path, "a.arff", "no header"))


@pytest.mark.parametrize("first", [0, 1])
def test_svmlight(tmp_path, first):
    dense = np.float32([[0, 2, 0], [1, 0, 3], [5, 0, 0]])
    dense[:, 0] += 1 - first  # a file from 0 uses that number
    write = lambda path: dump_svmlight_file(dense, [1, 0, 1], str(path), zero_based=not first)  # noqa: E731
    x, y, _, prepared, notes = read(tmp_path, "a.svm", write)
    assert np.array_equal(x, dense) and y.tolist() == [1, 0, 1] and "sparse" in notes
    assert prepared["columns"] == [str(i + first) for i in range(3)]
    new, *_ = read(tmp_path, "b.libsvm", f"0 {first + 1}:7\n", prepared)
    assert new.tolist() == [[0, 7, 0]]
    with user_error("b.libsvm", "cannot be read"):
        read_own(written(tmp_path, "b.libsvm", "0 9:7\n"), None, prepared)


def test_svmlight_with_what_it_cannot_have(tmp_path):
    path = written(tmp_path, "a.svmlight", "1.5 1:2 2:nan\n2.5 1:4 2:5\n1 1:3 2:6\n")
    with user_error("label 1.5"):
        read_own(path, Reading(missing="mean"))
    assert len(read_own(path, Reading(missing="drop", label_column="none"))[0]) == 2
    with user_error("--label-column 'y'", "no names"):
        read_own(path, Reading(label_column="y"))
    with user_error("--ignore-columns"):
        read_own(path, Reading(ignore_columns=("1",)))


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_anndata(tmp_path, kind):
    matrix = scipy.sparse.random(6, 4, 0.5, kind, random_state=0)

    def write(path):
        with h5py.File(path, "w") as file:
            group = file.create_group("X")
            group.attrs["encoding-type"], group.attrs["shape"] = f"{kind}_matrix", matrix.shape
            for key in ("data", "indices", "indptr"):
                group[key] = getattr(matrix, key)
            file["obs/cell_type/codes"] = [0, 1, 0, 1, 0, 1]
            file["obsm/X_pca"] = np.ones((6, 2))

    x, y, *_, notes = read(tmp_path, "a.h5ad", write, label_column="obs/cell_type/codes")
    np.testing.assert_allclose(x, matrix.toarray(), rtol=1e-6)
    assert y.tolist() == [0, 1, 0, 1, 0, 1] and "sparse" in notes and "X_pca" in notes
    assert read(tmp_path, "a.h5ad", write, array="obsm/X_pca")[0].shape == (6, 2)


def test_sparse_matrix_of_matlab_7_3(tmp_path):
    matrix = scipy.sparse.random(4, 6, 0.5, "csc", random_state=0)

    def write(path):
        with h5py.File(path, "w") as file:
            group = file.create_group("fea")
            group.attrs["MATLAB_sparse"] = 4
            group["data"], group["ir"], group["jc"] = matrix.data, matrix.indices, matrix.indptr

    x, *_ = read(tmp_path, "a.mat", write)
    np.testing.assert_allclose(x, matrix.toarray(), rtol=1e-6)


@pytest.mark.parametrize("flag", ["array", "label_column"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.mtx"])
def test_names_in_a_file_without_names_are_refused(tmp_path, name, flag):
    values = np.arange(6.0).reshape(3, 2)
    writers = {
        "a.npy": np.save,
        "a.npz": lambda path, x: scipy.sparse.save_npz(path, scipy.sparse.csr_matrix(x)),
        "a.mtx": scipy.io.mmwrite,
    }
    writers[name](tmp_path / name, values)
    with user_error(f"--{flag.replace('_', '-')} 'y'", "no names"):
        read_own(tmp_path / name, Reading(**{flag: "y"}))


# ---- columns in different units ---------------------------------------------------------------

UNITS = "age,income,label\n20,1000000001,a\n30,1000000002,b\n40,1000000003,a\n"


def test_standardize_and_new_samples(tmp_path):
    x, y, _, prepared, notes = read(tmp_path, "a.csv", UNITS, standardize=True)
    expected = np.array([[-1, -1], [0, 0], [1, 1]]) * np.sqrt(1.5)
    np.testing.assert_allclose(x, expected, rtol=1e-6)  # 1e9 + 1 is no float32
    assert y.tolist() == [0, 1, 0] and "mean 0 and variance 1" in notes
    assert "whole numbers" not in notes and "of the variance" not in notes
    new, *_ = read(tmp_path, "b.csv", "income,age\n1000000002,50\n", prepared)
    np.testing.assert_allclose(new, [[2 * np.sqrt(1.5), 0]], atol=1e-6)
    with user_error("b.npy", "samples of shape (3,), expected (2,)"):
        read(tmp_path, "b.npy", lambda path: np.save(path, np.ones((2, 3))), prepared)


def test_standardize_takes_constant_columns_and_missing_values(tmp_path):
    text = "a,b,c\n1,7,1\n3,7,\n5,7,3\n"
    x, *_ = read(tmp_path, "a.csv", text, standardize=True, missing="mean")
    assert x[:, 1].tolist() == [0, 0, 0] and x[1, 2] == 0


def test_standardize_where_it_has_no_meaning(tmp_path):
    prepared = read(tmp_path, "a.csv", UNITS)[3]
    with user_error("--standardize", "fitted on columns as they are"):
        read(tmp_path, "a.csv", UNITS, prepared, standardize=True)
    images = lambda path: np.save(path, np.ones((3, 4, 4)))  # noqa: E731
    with user_error("--standardize has no meaning for images"):
        read(tmp_path, "a.npy", images, standardize=True)
    with user_error("--standardize has no meaning for a folder of images"):
        read_own(tmp_path, Reading(standardize=True))


@pytest.mark.parametrize(
    "scales, told",
    [
        ([1, 1000], "of 2 columns '1' has 100.0% of the variance"),
        ([1, 4], ""),
        ([1, 1, 1, 5], ""),
        ([1] * 18 + [300, 400], "of 20 columns '19', '18' have 100.0% of the variance"),
        ([1] * 17 + [300, 400, 500], ""),
        ([1], ""),
        ([0, 0], ""),
    ],
)
def test_columns_that_decide_are_named(tmp_path, scales, told):
    x = np.random.default_rng(0).normal(size=(200, len(scales))) * scales
    *_, notes = read(tmp_path, "a.npy", lambda path: np.save(path, x))
    assert told in notes and bool(told) == ("--standardize" in notes)


def test_numbers_too_near_each_other_for_float32_are_centred(tmp_path):
    x = np.random.default_rng(0).normal([48.9, 0.0, 7.0], [1.0, 2.0, 0.0], (50, 3)) + [1e6, 0, 0]
    save = lambda path: np.save(path, x)  # noqa: E731
    found, _, _, prepared, notes = read(tmp_path, "a.npy", save)
    np.testing.assert_allclose(found[:, 0], x[:, 0] - x[:, 0].mean(), atol=1e-6)
    assert np.array_equal(found[:, 1:], np.float32(x[:, 1:])) and "columns '0' centred" in notes
    new, *_ = read(tmp_path, "b.npy", lambda path: np.save(path, x[:3]), prepared)
    assert np.array_equal(new, found[:3])
    with user_error("--standardize", "fitted on columns as they are"):
        read(tmp_path, "a.npy", save, prepared, standardize=True)


def test_columns_of_a_tiny_spread_are_divided_by_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 3))
    deviation = np.linalg.norm(x.std(axis=0))
    for unit, told in ((1e-12, True), (0.05, True), (0.1, False), (1e9, False)):
        found, _, _, prepared, notes = read(
            tmp_path, "a.npy", lambda path, u=unit: np.save(path, x * u)
        )
        expected = x / deviation if told else x * unit
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert ("all columns divided by" in notes) == told == (prepared["standard"] is not None)


# ---- what is silently wrong if it is taken for something else -----------------------------------


def test_numbers_named_x_and_y_are_coordinates(tmp_path):
    x, y, *_ = read(tmp_path, "a.csv", "x,y\n1,2\n3,4\n")
    assert x.tolist() == PAIRS and y is None
    x, y, *_, notes = read(tmp_path, "a.csv", "x,y\n1,b\n3,a\n")
    assert x.tolist() == [[1], [3]] and y.tolist() == [1, 0] and "labels: column 'y'" in notes
    _, y, *_ = read(tmp_path, "a.csv", "x,y\n1,2\n3,4\n", label_column="y")
    assert y.tolist() == [0, 1]


def test_a_second_column_of_labels_is_no_feature(tmp_path):
    text = "a,b,species,target\n1,2,p,7\n3,4,q,8\n"
    for chosen, other in (("species", "target"), ("target", "species")):
        x, y, *_, notes = read(tmp_path, "a.csv", text, label_column=chosen)
        assert x.tolist() == PAIRS and y.tolist() == [0, 1]
        assert f"columns with names of labels left out: '{other}'" in notes


@pytest.mark.parametrize("ids", [("007", "08"), ("001E1", "2"), ("12345678901234567000", "")])
def test_names_of_rows_stay_as_written(tmp_path, ids):
    _, _, rows, *_ = read(tmp_path, "a.csv", f"id,a,b\n{ids[0]},1,2\n{ids[1]},3,4\n")
    assert rows == ids


def test_rows_keep_their_numbers(tmp_path):
    x, _, rows, *_ = read(tmp_path, "a.csv", "a,b\n1,2\n,\n3,4\n")
    assert x.tolist() == PAIRS and rows == ("1", "3")


@pytest.mark.parametrize("label", ["NA", "nan", "NULL", "#N/A"])
def test_missing_labels_are_no_class(tmp_path, label):
    with user_error(f"label '{label}' of sample 1", "--label-column none"):
        read(tmp_path, "a.csv", f"a,b,species\n1,2,p\n3,4,{label}\n5,6,q\n")


@pytest.mark.parametrize("label", ["none", "-", "?", "."])
def test_classes_may_be_named_as_missing_numbers(tmp_path, label):
    _, y, _, _, notes = read(tmp_path, "a.csv", f"a,b,species\n1,2,+\n3,4,{label}\n5,6,+\n")
    assert sorted(y) in ([0, 0, 1], [0, 1, 1])
    assert f"labels '{label}' are taken as a class, not as missing" in notes


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(PAIRS, columns=list("ab"), index=pd.Index([9, 5], name="customer"))
    x, _, rows, _, notes = read(tmp_path, "a.parquet", frame.to_parquet)
    assert x.tolist() == PAIRS and rows == ("9", "5") and "('customer') is no feature" in notes
    _, y, *_ = read(tmp_path, "a.parquet", frame.to_parquet, label_column="customer")
    assert y.tolist() == [1, 0]
    many = frame.set_index(pd.MultiIndex.from_tuples([("p", 1), ("q", 2)]))
    x, _, rows, *_ = read(tmp_path, "a.parquet", many.to_parquet)
    assert x.tolist() == PAIRS and rows == ("p/1", "q/2")


def test_numbers_as_text_in_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(PAIRS).astype(str).add_prefix("a")
    assert read(tmp_path, "a.parquet", frame.to_parquet)[0].tolist() == PAIRS


def test_json_by_columns_and_by_index(tmp_path):
    frame = pd.DataFrame(PAIRS, columns=["a", "wait_time"])
    for orient in ("records", "columns"):
        x, *_ = read(tmp_path, "a.json", lambda p, o=orient: frame.to_json(p, orient=o))
        assert x.tolist() == PAIRS
    with user_error("its rows are named 'a', 'wait_time'", "orient='records'"):
        read(tmp_path, "a.json", lambda p: frame.to_json(p, orient="index"))


def test_lists_in_lists_are_refused(tmp_path):
    for cells in ("[[1, 2], [3, 4]]", "[[1, 2], [3]]"):
        with user_error("column 'a' holds", "expected a number or a list of them"):
            read(tmp_path, "a.json", f'[{{"a": {cells}}}, {{"a": {cells}}}]')


def test_long_lines_that_blanks_separate(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 800))
    assert read(tmp_path, "a.txt", lambda p: np.savetxt(p, x))[0].shape == (5, 800)


def test_only_a_comment_and_an_empty_line_above(tmp_path):
    assert read(tmp_path, "a.txt", "#\n\n1 2\n3 4\n")[0].tolist() == PAIRS


def test_columns_of_new_samples_in_any_case(tmp_path):
    *_, prepared, _ = read(tmp_path, "a.csv", "alpha,beta\n1,2\n3,4\n")
    x, *_ = read(tmp_path, "b.csv", "Beta,Alpha\n2,1\n", like=prepared)
    assert x.tolist() == [[1, 2]]
    with user_error("lacks the columns 'alpha', 'beta'"):
        read(tmp_path, "b.csv", "u,v\n2,1\n", like=prepared)
    x, y, *_, notes = read(tmp_path, "b.csv", "alpha,beta,label\n1,2,\n", like=prepared)
    assert x.tolist() == [[1, 2]] and y is None and "left out" in notes


def test_bytes_in_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xe9"
    os.makedirs(folder)
    for i in range(2):
        Image.fromarray(np.full((8, 8), 90 * i, np.uint8)).save(tmp_path / "a.png")
        os.rename(tmp_path / "a.png", folder + b"/\xe9%d.png" % i)
    *_, rows, _, _ = read_own(tmp_path)
    assert rows == ("\\xe9/\\xe90.png", "\\xe9/\\xe91.png")


@pytest.mark.parametrize("ends", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("top", ["", "sep=;{}", "# made by hand{}{}"])
def test_ends_of_lines(tmp_path, ends, top):
    text = (top + "a;b{}1,5;2{}3,5;4{}").replace("{}", ends).encode()
    x, *_ = read(tmp_path, "a.csv", lambda path: path.write_bytes(text))
    assert x.tolist() == [[1.5, 2], [3.5, 4]]


def test_a_cell_with_a_long_list(tmp_path):
    cells = ["[" + ", ".join(str(j * i) for j in range(30000)) + "]" for i in range(3)]
    assert len(cells[1]) > 131072  # the csv module's own limit
    text = "a,b\n" + "".join(f'{i}.5,"{cell}"\n' for i, cell in enumerate(cells))
    x, *_ = read(tmp_path, "a.csv", text)
    assert x.shape == (3, 30001) and x[2, 30000] == 2 * 29999


def test_a_quote_without_its_end(tmp_path):
    with user_error("cannot be read as a CSV table"):
        read(tmp_path, "a.csv", 'a,b\n1,"2\n' + "3,4\n" * 50000)


def test_an_empty_cell_in_quotes_is_a_cell(tmp_path):
    x, _, rows, _, notes = read(tmp_path, "a.csv", 'a\n1.5\n""\n3\n')
    assert x.tolist() == [[1.5], [3]] and rows == ("1", "3")
    assert "rows without any value left out: 1 of 3" in notes


def test_weka_has_a_question_mark_for_a_missing_value(tmp_path):
    text = "@relation r\n@attribute a numeric\n@attribute class {p,q}\n@data\n1,p\n2,?\n3,q\n"
    with user_error("label '' of sample 1"):
        read(tmp_path, "a.arff", text)


def test_labels_that_are_lists(tmp_path):
    with user_error("label column 'y' holds lists", "a number or a word"):
        read(tmp_path, "a.json", '[{"a": 1, "y": [1, 2]}, {"a": 2, "y": [3, 4]}]')


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_labels_in_bytes(tmp_path, encoding):
    y = np.array(["\xe9".encode(encoding), b"b", b"b"])

    def content():
        return read(tmp_path, "a.npz", lambda path: np.savez(path, x=np.eye(3), y=y))

    if encoding == "latin-1":
        with user_error("labels in UTF-8"):
            content()
    else:
        assert content()[1].tolist() == [1, 0, 0]


@pytest.mark.parametrize("shift", [100, 10**9, -5])
def test_sparse_matrices_that_point_outside_themselves(tmp_path, shift):
    """SciPy itself would read other memory."""
    path = tmp_path / "whole.npz"
    scipy.sparse.save_npz(path, scipy.sparse.random(20, 30, 0.2, format="csr"))
    parts = dict(np.load(path))
    parts["indices"] = parts["indices"] + shift
    with user_error("cannot be read as a sparse matrix"):
        read(tmp_path, "a.npz", lambda path: np.savez(path, **parts))


def test_labels_beside_rows_that_are_left_out(tmp_path):
    x = np.arange(8.0).reshape(4, 2)
    x[1, 0] = np.nan
    content = lambda path: scipy.io.savemat(path, {"X": x, "Y": [5, 6, 5, 7]})  # noqa: E731
    found, y, *_ = read(tmp_path, "a.mat", content, missing="drop")
    assert found.tolist() == x[[0, 2, 3]].tolist() and y.tolist() == [0, 0, 1]


def test_means_of_the_fitted_columns_for_a_file_without_their_names(tmp_path):
    """Of a table with names to one without and to an array, and of an array to a table."""
    how = {"missing": "mean"}
    _, _, _, named, _ = read(tmp_path, "a.csv", "b,a\n1,10\n3,20\n", **how)
    for name, content in (
        ("b.csv", ",7.5\n100,200\n"),
        ("b.npy", lambda path: np.save(path, [[np.nan, 7.5], [100, 200]])),
    ):
        x, *_, notes = read(tmp_path, name, content, named, **how)
        assert x.tolist() == [[2, 7.5], [100, 200]] and "mean of the fitted column" in notes
    fitted = lambda path: np.save(path, [[1.0, 10], [3, 20]])  # noqa: E731
    _, _, _, plain, _ = read(tmp_path, "a.npy", fitted, **how)
    x, *_ = read(tmp_path, "c.csv", "u,v\n,7.5\n100,200\n", plain, **how)
    assert x.tolist() == [[2, 7.5], [100, 200]]


def test_ways_to_treat_missing_values():
    with user_error("missing='median': expected error, mean or drop"):
        Reading(missing="median")


def test_an_array_has_no_columns_to_ignore(tmp_path):
    content = lambda path: np.save(path, [[np.nan, 1], [np.nan, 2]])  # noqa: E731
    with pytest.raises(UserError) as error:
        read(tmp_path, "a.npy", content, missing="mean")
    assert "no value at all" in str(error.value) and "--ignore-columns" not in str(error.value)


def test_samples_that_are_all_the_same_are_told(tmp_path):
    *_, notes = read(tmp_path, "a.npy", lambda path: np.save(path, np.ones((5, 2))))
    assert "all samples are the same" in notes


def pictures(folder, *names, mode="L"):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (4, 4), 20 * i).save(folder / name)


def test_folders_named_train_and_test_are_no_labels(tmp_path):
    pictures(tmp_path / "p", "train/1.png", "train/2.png", "test/3.png")
    x, y, _, _, _, notes = read_own(tmp_path / "p")
    assert len(x) == 3 and y is None
    assert "folders 'test', 'train' joined, they are no labels" in " ".join(notes)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_for_a_model_of_rows_of_numbers(tmp_path, mode):
    _, _, _, prepared, _ = read(tmp_path, "a.csv", "a,b,c,d\n1,2,3,4\n5,6,7,8\n")
    pictures(tmp_path / "p", "1.png", "2.png", mode=mode)
    shape = (4, 4, 1 if mode == "L" else 3)
    with user_error(f"samples of shape {shape}", "expected (4,)"):
        read_own(tmp_path / "p", like=prepared)


def test_folders_below_some_of_train_and_test(tmp_path):
    pictures(tmp_path / "p", "train/cat/1.png", "train/dog/2.png", "test/3.png", "test/4.png")
    with user_error("2 images in 'test', 'train' and 2 in folders below"):
        read_own(tmp_path / "p")


def test_numbers_have_no_underscores(tmp_path):
    x, *_, prepared, _ = read(tmp_path, "a.csv", "2019_1,2019_2\n1,2\n3,4\n")
    assert x.tolist() == PAIRS and prepared["columns"] == ["2019_1", "2019_2"]
    with user_error("column 'a' holds '1_2', expected numbers"):
        read(tmp_path, "a.csv", "a,b\n1_2,1\n3,4\n")


def test_beside_numbers_a_question_mark_is_a_missing_label(tmp_path):
    with user_error("label nan of sample 0"):
        read(tmp_path, "a.csv", "a,label\n1.5,?\n2,1\n3,2\n4,1\n")


def test_long_words_are_told_in_short(tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, "a.csv", "a,b\n" + "x" * 300_000 + ",1\n2,3\n")
    assert len(str(error.value)) < 300 and "holds 'xxx" in str(error.value)


def test_only_line_ends_end_lines(tmp_path):
    text = "# data \x85 of 2020\u2028 and later\na,b\n1,2\n3,4\n"
    x, *_ = read(tmp_path, "a.csv", lambda path: path.write_bytes(text.encode()))
    assert x.tolist() == PAIRS


def test_anndata_without_some_categories(tmp_path):
    def content(path):
        with h5py.File(path, "w") as file:
            file["X"] = np.eye(3)
            file["obs/kind/codes"] = np.array([0, -1, 1], np.int8)

    with user_error("'obs/kind/codes' is -1 for 1 samples, which have no category"):
        read(tmp_path, "a.h5ad", content, label_column="obs/kind/codes")
