cpdef object number_of_digits(bytes digits)
cpdef object temporary_of(at, bytes number, asker)
