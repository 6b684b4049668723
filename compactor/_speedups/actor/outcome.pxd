cpdef void end_with(result) noexcept
