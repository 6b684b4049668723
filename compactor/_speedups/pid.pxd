cpdef object number_of_digits(bytes digits)
cpdef object temporary_of(at, bytes number, asker)
cpdef object temporary_at(at, unsigned long long number, asker)
