/* Runs of several files, read into pieces of one buffer: many preadv in one call, without the interpreter's lock, which
 * threads that merge beside each other would wait for at each of them.
 *
 * What the arguments mean is said by Kernel.pread_runs in shuffle/machine/kernel.py, which reads by os.preadv whatever
 * was not read here, and says what is wrong with it. A piece that is not in the buffer is a ValueError.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <Python.h>

#include <stdint.h>
#include <sys/uio.h>

#define PIECES 1024 /* IOV_MAX: what one call takes */

typedef struct {
    Py_buffer descriptors, offsets, starts, places, lengths, out;
} Runs;

static int64_t run_count(const Runs *runs) { return runs->descriptors.len / (int64_t)sizeof(int32_t); }

static int are_sound(const Runs *runs)
{
    const int64_t *starts = runs->starts.buf, *places = runs->places.buf, *lengths = runs->lengths.buf;
    int64_t count = run_count(runs), piece_count = runs->places.len / (int64_t)sizeof(int64_t);
    if (runs->offsets.len != count * (int64_t)sizeof(int64_t) || runs->lengths.len != runs->places.len ||
        runs->starts.len != (count + 1) * (int64_t)sizeof(int64_t) || starts[0] != 0 || starts[count] != piece_count)
        return 0;
    for (int64_t r = 0; r < count; r++)
        if (starts[r] > starts[r + 1])
            return 0;
    for (int64_t p = 0; p < piece_count; p++)
        if (places[p] < 0 || lengths[p] < 0 || places[p] > runs->out.len || lengths[p] > runs->out.len - places[p])
            return 0;
    return 1;
}

/* Reads until a call fails or returns less than was asked for; how many runs were read whole. */
static int64_t read_runs(const Runs *runs, int64_t *calls)
{
    const int64_t *starts = runs->starts.buf, *places = runs->places.buf, *lengths = runs->lengths.buf;
    struct iovec vectors[PIECES];
    for (int64_t r = 0; r < run_count(runs); r++) {
        int64_t offset = ((const int64_t *)runs->offsets.buf)[r];
        for (int64_t start = starts[r]; start < starts[r + 1]; start += PIECES) {
            int count = starts[r + 1] - start < PIECES ? (int)(starts[r + 1] - start) : PIECES;
            int64_t wanted = 0;
            for (int v = 0; v < count; v++) {
                vectors[v].iov_base = (char *)runs->out.buf + places[start + v];
                vectors[v].iov_len = (size_t)lengths[start + v];
                wanted += lengths[start + v];
            }
            *calls += 1;
            if (preadv(((const int32_t *)runs->descriptors.buf)[r], vectors, count, offset) != wanted)
                return r;
            offset += wanted;
        }
    }
    return run_count(runs);
}

static PyObject *call_read_runs(PyObject *self, PyObject *arguments)
{
    Runs runs;
    int64_t done = -1, calls = 0;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*w*", &runs.descriptors, &runs.offsets, &runs.starts, &runs.places,
                          &runs.lengths, &runs.out))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    if (are_sound(&runs))
        done = read_runs(&runs, &calls);
    Py_END_ALLOW_THREADS
    Py_buffer *buffers[] = {&runs.descriptors, &runs.offsets, &runs.starts, &runs.places, &runs.lengths, &runs.out};
    for (size_t b = 0; b < sizeof(buffers) / sizeof(*buffers); b++)
        PyBuffer_Release(buffers[b]);
    if (done < 0) {
        PyErr_SetString(PyExc_ValueError, "a piece is not in the buffer");
        return NULL;
    }
    return Py_BuildValue("LL", (long long)done, (long long)calls);
}

static PyMethodDef methods[] = {{"read_runs", call_read_runs, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_reading", "See shuffle/machine/kernel.py.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__reading(void) { return PyModuleDef_Init(&module); }
