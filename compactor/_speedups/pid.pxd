cpdef object temporary_of(at, bytes number, asker)
