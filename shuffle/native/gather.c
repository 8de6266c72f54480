/* Rows taken out of one column in partition order, each partition's into a place of its own.
 *
 * The same four functions are in shuffle/arrays/gather.py, in numpy, which says what their arguments mean; these write
 * the same bytes, faster, and without the interpreter's lock. Whatever is read or written is checked against its
 * buffer first: wrong arguments are a ValueError, never a wild pointer.
 *
 * Only the stable ABI of Python 3.11 is used, so that one compiled module serves every later version.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define NO_VALUE UINT32_MAX
#define CHUNK 256 /* rows that are looked up at once */

/* The rows of one call, as Python gives them in a tuple: order, starts, codes, code_width, valid. */
typedef struct {
    Py_buffer order, starts, codes, valid;
    Py_ssize_t code_width;
    int64_t run_count;
} Runs;

/* Whether the rows are consistent; counts the runs. */
static int are_runs(Runs *runs)
{
    const int64_t *starts = runs->starts.buf, order_count = runs->order.len / (int64_t)sizeof(uint32_t);
    Py_ssize_t width = runs->code_width;
    runs->run_count = runs->starts.len / (int64_t)sizeof(int64_t) - 1;
    if (runs->run_count < 0 || starts[0] != 0 || starts[runs->run_count] > order_count)
        return 0;
    for (int64_t r = 0; r < runs->run_count; r++)
        if (starts[r] > starts[r + 1])
            return 0;
    return runs->codes.buf == NULL || width == 1 || width == 2 || width == 4 || width == 8;
}

/* Where the values of rows [start, start + count) of the order are, NO_VALUE for nulls; NULL if a row does not exist.
 * The answer is either part of the order itself or the room that is given. */
static const uint32_t *look_up(const Runs *runs, int64_t start, int64_t count, uint32_t *room)
{
    const uint32_t *order = (const uint32_t *)runs->order.buf + start;
    const char *codes = runs->codes.buf;
    const uint8_t *valid = runs->valid.buf;
    int64_t code_count = codes ? runs->codes.len / runs->code_width : INT64_MAX;
    if (codes == NULL && valid == NULL)
        return order;
    for (int64_t j = 0; j < count; j++) {
        uint32_t row = order[j];
        if (row >= code_count || (valid && row >= runs->valid.len))
            return NULL;
        if (valid && !valid[row]) {
            room[j] = NO_VALUE;
        } else if (codes) {
            uint64_t code = 0;
            uint8_t one;
            uint16_t two;
            uint32_t four;
            switch (runs->code_width) {
            case 1: memcpy(&one, codes + row, 1), code = one; break;
            case 2: memcpy(&two, codes + (size_t)row * 2, 2), code = two; break;
            case 4: memcpy(&four, codes + (size_t)row * 4, 4), code = four; break;
            default: memcpy(&code, codes + (size_t)row * 8, 8);
            }
            if (code >= NO_VALUE)
                return NULL;
            room[j] = (uint32_t)code;
        } else {
            room[j] = row;
        }
    }
    return room;
}

/* Whether length bytes fit into a buffer from a place on. */
static int fits(int64_t place, int64_t length, int64_t buffer_length)
{
    return place >= 0 && length >= 0 && place <= buffer_length && length <= buffer_length - place;
}

static int is_array(const Py_buffer *numbers, const Runs *runs)
{
    return numbers->len == runs->run_count * (int64_t)sizeof(int64_t);
}

/* Copies of a size that the compiler knows are one instruction or two. */
#define TAKE(type)                                                                                                     \
    for (int64_t j = 0; j < count; j++, to += sizeof(type)) {                                                          \
        type value = {0};                                                                                              \
        if (rows[j] < value_count)                                                                                     \
            memcpy(&value, from + (size_t)rows[j] * sizeof(type), sizeof(type));                                       \
        else if (rows[j] != NO_VALUE)                                                                                  \
            return 0;                                                                                                  \
        memcpy(to, &value, sizeof(type));                                                                              \
    }                                                                                                                  \
    return 1;

typedef struct {
    uint64_t low, high;
} Sixteen;

static int take(const char *from, int64_t value_count, int64_t width, const uint32_t *rows, int64_t count, char *to)
{
    switch (width) {
    case 1: TAKE(uint8_t)
    case 2: TAKE(uint16_t)
    case 4: TAKE(uint32_t)
    case 8: TAKE(uint64_t)
    case 16: TAKE(Sixteen)
    }
    for (int64_t j = 0; j < count; j++, to += width) {
        if (rows[j] < value_count)
            memcpy(to, from + (size_t)rows[j] * (size_t)width, (size_t)width);
        else if (rows[j] == NO_VALUE)
            memset(to, 0, (size_t)width);
        else
            return 0;
    }
    return 1;
}

static int gather_values(const Py_buffer *values, int64_t width, Runs *runs, const Py_buffer *places, Py_buffer *out)
{
    const int64_t *place = places->buf, *starts = runs->starts.buf;
    uint32_t room[CHUNK];
    if (width < 1 || !is_array(places, runs))
        return 0;
    for (int64_t r = 0; r < runs->run_count; r++) {
        int64_t length = starts[r + 1] - starts[r];
        if (length > out->len / width || !fits(place[r], length * width, out->len))
            return 0;
        char *to = (char *)out->buf + place[r];
        for (int64_t start = starts[r]; start < starts[r + 1]; start += CHUNK) {
            int64_t count = starts[r + 1] - start < CHUNK ? starts[r + 1] - start : CHUNK;
            const uint32_t *rows = look_up(runs, start, count, room);
            if (rows == NULL || !take(values->buf, values->len / width, width, rows, count, to))
                return 0;
            to += count * width;
        }
    }
    return 1;
}

static int gather_bits(const Py_buffer *bits, int64_t first, Runs *runs, const Py_buffer *places, Py_buffer *out)
{
    const uint8_t *from = bits->buf;
    const int64_t *place = places->buf, *starts = runs->starts.buf, bit_count = bits->len * 8 - first;
    uint8_t *to = out->buf;
    uint32_t room[CHUNK];
    if (first < 0 || !is_array(places, runs))
        return 0;
    for (int64_t r = 0; r < runs->run_count; r++) {
        int64_t at = place[r];
        if (!fits(at, starts[r + 1] - starts[r], out->len * 8))
            return 0;
        unsigned byte = at % 8 ? to[at / 8] & ((1u << at % 8) - 1) : 0; /* what an earlier call put there stays */
        for (int64_t start = starts[r]; start < starts[r + 1]; start += CHUNK) {
            int64_t count = starts[r + 1] - start < CHUNK ? starts[r + 1] - start : CHUNK;
            const uint32_t *rows = look_up(runs, start, count, room);
            if (rows == NULL)
                return 0;
            for (int64_t j = 0; j < count; j++, at++) {
                if (rows[j] < bit_count) {
                    int64_t bit = first + rows[j];
                    byte |= (unsigned)(from[bit / 8] >> (bit % 8) & 1) << at % 8;
                } else if (rows[j] != NO_VALUE) {
                    return 0;
                }
                if (at % 8 == 7) {
                    to[at / 8] = (uint8_t)byte;
                    byte = 0;
                }
            }
        }
        if (at % 8)
            to[at / 8] = (uint8_t)byte;
    }
    return 1;
}

/* The length of a row's text, and where in the data it begins; -1 where its offsets are none. */
static int64_t text_of(const Py_buffer *offsets, int64_t width, int64_t data_length, uint32_t row, int64_t *begin)
{
    int32_t narrow[2];
    int64_t wide[2];
    if (width == 4) {
        memcpy(narrow, (const char *)offsets->buf + (size_t)row * 4, sizeof narrow);
        wide[0] = narrow[0], wide[1] = narrow[1];
    } else {
        memcpy(wide, (const char *)offsets->buf + (size_t)row * 8, sizeof wide);
    }
    *begin = wide[0];
    return wide[0] < 0 || wide[0] > wide[1] || wide[1] > data_length ? -1 : wide[1] - wide[0];
}

static int text_lengths(const Py_buffer *offsets, int64_t width, Runs *runs, Py_buffer *sums)
{
    const int64_t *starts = runs->starts.buf, text_count = offsets->len / (width ? width : 1) - 1;
    int64_t *sum = sums->buf;
    uint32_t room[CHUNK];
    if ((width != 4 && width != 8) || !is_array(sums, runs))
        return 0;
    for (int64_t r = 0; r < runs->run_count; r++) {
        sum[r] = 0;
        for (int64_t start = starts[r]; start < starts[r + 1]; start += CHUNK) {
            int64_t count = starts[r + 1] - start < CHUNK ? starts[r + 1] - start : CHUNK, begin;
            const uint32_t *rows = look_up(runs, start, count, room);
            if (rows == NULL)
                return 0;
            for (int64_t j = 0; j < count; j++) {
                int64_t length = rows[j] < text_count ? text_of(offsets, width, INT64_MAX, rows[j], &begin) : 0;
                if (length < 0 || length > INT64_MAX - sum[r] || (rows[j] >= text_count && rows[j] != NO_VALUE))
                    return 0;
                sum[r] += length;
            }
        }
    }
    return 1;
}

#define BLOCK 32 /* bytes; most texts are shorter, and no branch then depends on their length */

/* Copies a text; where there is room for a whole block in both buffers, also what follows it, which is overwritten. */
static void copy_text(char *to, int64_t room, const char *from, int64_t bytes, int64_t bytes_there)
{
    if (bytes <= BLOCK && BLOCK <= room && BLOCK <= bytes_there)
        memcpy(to, from, BLOCK);
    else
        memcpy(to, from, (size_t)bytes);
}

static int gather_texts(const Py_buffer *offsets, int64_t width, const Py_buffer *data, Runs *runs,
                        const Py_buffer *offset_places, const Py_buffer *text_places, const Py_buffer *text_stops,
                        Py_buffer *bases, Py_buffer *out)
{
    const int64_t *starts = runs->starts.buf, *offset_place = offset_places->buf;
    const int64_t *text_place = text_places->buf, *text_stop = text_stops->buf;
    const int64_t text_count = offsets->len / (width ? width : 1) - 1;
    int64_t *base = bases->buf;
    uint32_t room[CHUNK];
    if ((width != 4 && width != 8) || !is_array(offset_places, runs) || !is_array(text_places, runs) ||
        !is_array(text_stops, runs) || !is_array(bases, runs))
        return 0;
    for (int64_t r = 0; r < runs->run_count; r++) {
        int64_t length = starts[r + 1] - starts[r], end = base[r];
        if (length >= out->len / width || !fits(offset_place[r], (length + 1) * width, out->len) ||
            text_place[r] < 0 || text_stop[r] > out->len || !fits(text_place[r], end, text_stop[r]))
            return 0;
        char *to = (char *)out->buf + offset_place[r], *texts = (char *)out->buf + text_place[r];
        int64_t text_room = text_stop[r] - text_place[r];
        int32_t narrow;
        for (int64_t start = starts[r]; start < starts[r + 1]; start += CHUNK) {
            int64_t count = starts[r + 1] - start < CHUNK ? starts[r + 1] - start : CHUNK;
            const uint32_t *rows = look_up(runs, start, count, room);
            if (rows == NULL)
                return 0;
            for (int64_t j = 0; j < count; j++, to += width) {
                narrow = (int32_t)end;
                memcpy(to, width == 4 ? (void *)&narrow : (void *)&end, (size_t)width);
                if (rows[j] < text_count) {
                    int64_t begin, bytes = text_of(offsets, width, data->len, rows[j], &begin);
                    if (bytes < 0 || bytes > text_room - end)
                        return 0;
                    copy_text(texts + end, text_room - end, (const char *)data->buf + begin, bytes, data->len - begin);
                    end += bytes;
                } else if (rows[j] != NO_VALUE) {
                    return 0;
                }
            }
        }
        narrow = (int32_t)end;
        memcpy(to, width == 4 ? (void *)&narrow : (void *)&end, (size_t)width);
        base[r] = end;
    }
    return 1;
}

static void release(Py_buffer **buffers)
{
    for (; *buffers; buffers++)
        PyBuffer_Release(*buffers);
}

/* Ends a function of Python's: calls what computes, without the interpreter's lock, and gives all buffers back. The
 * tuple of the runs is taken apart by itself, for PyArg_ParseTuple overruns its memory of buffers in inner tuples. */
#define ANSWER(call, ...)                                                                                              \
    int is_right;                                                                                                      \
    Py_buffer *buffers[] = {__VA_ARGS__, NULL};                                                                        \
    (void)self;                                                                                                        \
    if (!PyArg_ParseTuple(tuple, "y*y*z*nz*", &runs.order, &runs.starts, &runs.codes, &runs.code_width, &runs.valid)) { \
        release(buffers);                                                                                              \
        return NULL;                                                                                                   \
    }                                                                                                                  \
    Py_BEGIN_ALLOW_THREADS                                                                                             \
    is_right = are_runs(&runs) && (call);                                                                              \
    Py_END_ALLOW_THREADS                                                                                               \
    release(buffers);                                                                                                  \
    release((Py_buffer *[]){&runs.order, &runs.starts, &runs.codes, &runs.valid, NULL});                               \
    if (is_right)                                                                                                      \
        Py_RETURN_NONE;                                                                                                \
    PyErr_SetString(PyExc_ValueError, "a row or a place is out of bounds");                                            \
    return NULL;

static PyObject *call_values(PyObject *self, PyObject *arguments)
{
    Runs runs;
    PyObject *tuple;
    Py_buffer values, places, out;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*nO!y*w*", &values, &width, &PyTuple_Type, &tuple, &places, &out))
        return NULL;
    ANSWER(gather_values(&values, width, &runs, &places, &out), &values, &places, &out)
}

static PyObject *call_bits(PyObject *self, PyObject *arguments)
{
    Runs runs;
    PyObject *tuple;
    Py_buffer bits, places, out;
    Py_ssize_t first;
    if (!PyArg_ParseTuple(arguments, "y*nO!y*w*", &bits, &first, &PyTuple_Type, &tuple, &places, &out))
        return NULL;
    ANSWER(gather_bits(&bits, first, &runs, &places, &out), &bits, &places, &out)
}

static PyObject *call_lengths(PyObject *self, PyObject *arguments)
{
    Runs runs;
    PyObject *tuple;
    Py_buffer offsets, sums;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*nO!w*", &offsets, &width, &PyTuple_Type, &tuple, &sums))
        return NULL;
    ANSWER(text_lengths(&offsets, width, &runs, &sums), &offsets, &sums)
}

static PyObject *call_texts(PyObject *self, PyObject *arguments)
{
    Runs runs;
    PyObject *tuple;
    Py_buffer offsets, data, offset_places, text_places, text_stops, bases, out;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*ny*O!y*y*y*w*w*", &offsets, &width, &data, &PyTuple_Type, &tuple,
                          &offset_places, &text_places, &text_stops, &bases, &out))
        return NULL;
    ANSWER(gather_texts(&offsets, width, &data, &runs, &offset_places, &text_places, &text_stops, &bases, &out),
           &offsets, &data, &offset_places, &text_places, &text_stops, &bases, &out)
}

static PyMethodDef methods[] = {
    {"gather_values", call_values, METH_VARARGS, NULL},
    {"gather_bits", call_bits, METH_VARARGS, NULL},
    {"text_lengths", call_lengths, METH_VARARGS, NULL},
    {"gather_texts", call_texts, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_gather", "See shuffle/arrays/gather.py.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__gather(void) { return PyModuleDef_Init(&module); }
