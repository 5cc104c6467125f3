/// Many tests at once: some fall out by chance, the more the more are made.
public enum FalseDiscoveryRate {
  /// The p-values adjusted so that of the tests called at a level q, a share of at most q is
  /// expected to be called wrongly; where nothing differs anywhere, any call at all has at most
  /// that probability.
  ///
  /// The step-up procedure of Benjamini and Hochberg, "Controlling the false discovery rate",
  /// Journal of the Royal Statistical Society B 57(1), 1995. It holds for independent tests and for
  /// ones that rise and fall together (Benjamini and Yekutieli, Annals of Statistics 29(4), 2001),
  /// as the times of cells do when the machine is slow for all. Bonferroni's correction would ask
  /// every cell for as much evidence as if it stood alone against chance, which few samples cannot
  /// give even when all cells agree.
  ///
  /// - Returns: the adjusted values, in the order given, at most 1.
  public static func adjusted(_ chances: [Double]) -> [Double] {
    let order = chances.indices.sorted { chances[$0] > chances[$1] }
    var adjusted = chances
    var least = 1.0
    for (place, index) in order.enumerated() {
      let rank = Double(chances.count - place)
      least = min(least, chances[index] * Double(chances.count) / rank)
      adjusted[index] = least
    }
    return adjusted
  }
}
