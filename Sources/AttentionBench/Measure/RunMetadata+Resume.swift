extension RunMetadata {
  /// Options that say how long one sitting may take: a resume may change them.
  private static let optionsOfASitting: Set<String> = ["--budget"]

  /// What makes the results of this run and of an earlier one not comparable, one sentence each;
  /// empty when a resume may mix them.
  public func differences(from earlier: RunMetadata) -> [String] {
    var found: [String] = []
    func compare(_ what: String, _ now: String?, _ then: String?) {
      if now != then { found.append("\(what) was \(then ?? "unknown"), is \(now ?? "unknown")") }
    }
    compare("host", machine.hostname, earlier.machine.hostname)
    compare("processor", machine.cpuModel, earlier.machine.cpuModel)
    compare("cores", "\(machine.cores)", "\(earlier.machine.cores)")
    compare("version", toolVersion, earlier.toolVersion)
    compare("commit", build.commit, earlier.build.commit)
    compare("compiler", build.compiler, earlier.build.compiler)
    compare("compiler flags", build.compilerFlags, earlier.build.compilerFlags)
    compare("BLAS", blas.library, earlier.blas.library)
    compare("BLAS kernel", blas.core, earlier.blas.core)
    compare("instruction set", isaChosen, earlier.isaChosen)
    compare("seed", "\(seed)", "\(earlier.seed)")
    let names = Set(options.keys).union(earlier.options.keys)
    for name in names.subtracting(Self.optionsOfASitting).sorted() {
      compare(name, options[name], earlier.options[name])
    }
    return found
  }
}
