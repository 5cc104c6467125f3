extension Int {
  /// The number of the block of `size` positions that a position lies in, also below zero, where
  /// queries may stand.
  func block(of size: Int) -> Int {
    self >= 0 ? self / size : -((size - 1 - self) / size)
  }
}
